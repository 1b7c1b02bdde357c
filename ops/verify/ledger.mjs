// Verification of a whole ledger: parts B5 and C of section 14 of
// domain/ledger/FORMAT.md, and the findings of all parts.

import { Malformed } from './cbor.mjs';
import { EventCheck } from './event.mjs';
import { HeadList } from './headlist.mjs';
import { Stream } from './stream.mjs';
import { NO_LEAF, REGISTRY, decodeAnchor, decodeTruncation } from './structures.mjs';

// So many findings are told apart; a ledger with more is not repaired one by one.
const MAX_FINDINGS = 1_000_000;

/**
 * Ledger takes the events of a ledger one after another and tells at the end
 * what is wrong. keys are those of parseKeys, heads a list of what parseHeads
 * returns, starts a list of { stream, first, previous }.
 */
export class Ledger {
  constructor(keys, { heads = [], starts = [] } = {}) {
    this.check = new EventCheck(keys);
    this.headsFiles = heads;
    this.starts = [...starts];
    this.streams = new Map();
    this.findings = new Map();
    this.registry = { id: undefined, lastAnchor: NO_LEAF, anchorKnown: true, anchored: new Map(), claims: new Map() };
    this.events = 0;
    this.anchors = 0;
    this.headsChecked = 0;
    this.headsUnchecked = 0;
    this.findingsOmitted = 0;
    this.note = this.note.bind(this);
  }

  note(stream, revision, kind, detail) {
    const key = `${stream} ${revision} ${kind}`;
    if (this.findings.has(key)) return;
    if (this.findings.size < MAX_FINDINGS) this.findings.set(key, { stream, revision, kind, detail });
    else this.findingsOmitted++;
  }

  /** add looks at the next event (parts A and B). */
  add(event) {
    this.events++;
    const checked = this.check.check(event);
    const good = checked.kind === undefined;
    if (!good) this.note(event.stream, event.revision, checked.kind, checked.detail);
    const stream = this.#stream(event.stream);
    if (!stream.arrive(event.revision, this.note)) return;
    if (event.stream === REGISTRY && !(good && stream.follows)) this.registry.anchorKnown = false;
    if (!good) {
      stream.skip();
      return;
    }
    stream.place(checked, this.note);
    if (event.stream === REGISTRY) this.#register(checked, event.data);
  }

  /** finish does part C and returns the findings, sorted by stream, revision and kind. */
  finish() {
    for (const stream of this.streams.values()) this.#closeStream(stream);
    for (const [name, claims] of this.registry.claims) {
      for (let c = 0; c < claims.length; c++) this.#checkClaim(name, claims.count(c), claims.leaf(c));
    }
    for (const { ledger, heads } of this.headsFiles) {
      for (const { stream, count, leaf } of heads) this.#checkClaim(stream, count, leaf);
      if (this.registry.id !== undefined && ledger !== this.registry.id) {
        this.note(REGISTRY, 0, 'other-ledger', `the heads are of the ledger ${ledger}`);
      }
    }
    return [...this.findings.values()].sort(byPlace);
  }

  #stream(name) {
    let stream = this.streams.get(name);
    if (!stream) this.streams.set(name, stream = new Stream(name));
    return stream;
  }

  // Part B5.
  #register({ header, leaf }, payload) {
    if (header.revision === 0) this.registry.id = leaf.toString('hex');
    if (header.type === 'stream-truncated') this.#truncate(header, payload);
    if (header.type === 'anchor') this.#anchor(header, leaf, payload);
  }

  #truncate(header, payload) {
    const truncation = this.#read(header, payload, decodeTruncation);
    if (truncation) this.starts.push(truncation);
  }

  #anchor(header, leaf, payload) {
    const registry = this.registry;
    const anchor = this.#read(header, payload, (bytes) => decodeAnchorAt(header.revision, bytes));
    if (!anchor) {
      registry.anchorKnown = false;
      return;
    }
    this.anchors++;
    if (registry.anchorKnown && !anchor.previous.equals(registry.lastAnchor)) {
      this.note(REGISTRY, header.revision, 'anchor-chain', 'it does not name the anchor before it');
    }
    registry.lastAnchor = leaf;
    registry.anchorKnown = true;
    this.#compareWithAnchored(header.revision, anchor.heads);
    for (const head of anchor.heads) this.#anchorHead(header.revision, head);
  }

  // #read decodes a payload that takes part in verification, or notes that it cannot.
  #read(header, payload, decode) {
    try {
      if (header.keyId !== undefined) throw new Malformed('the payload is sealed');
      return decode(payload);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.note(REGISTRY, header.revision, 'record-invalid', error.message);
      return undefined;
    }
  }

  #compareWithAnchored(revision, heads) {
    const named = new Set(heads.map((head) => head.stream));
    for (const name of this.registry.anchored.keys()) {
      if (!named.has(name)) this.note(REGISTRY, revision, 'anchor-regressed', `it does not name the stream ${name}`);
    }
  }

  #anchorHead(revision, { stream, count, leaf }) {
    const { anchored, claims } = this.registry;
    const before = anchored.get(stream);
    if (before && before.count === count && before.leaf.equals(leaf)) return;
    if (before && before.count >= count) {
      this.note(REGISTRY, revision, 'anchor-regressed', `it names ${count} events of ${stream} after an anchor of ${before.count}`);
      return;
    }
    // A copy: the leaf is a view into the whole payload of the anchor.
    anchored.set(stream, { count, leaf: Buffer.from(leaf) });
    if (!claims.has(stream)) claims.set(stream, new HeadList());
    claims.get(stream).push(count, leaf); // ascending, as every other was refused above
  }

  // Parts C1 and C2.
  #closeStream(stream) {
    if (stream.first > 0 && !this.starts.some((start) => allows(start, stream))) {
      this.note(stream.name, stream.first, 'start-not-trusted', 'nothing says that the stream may begin there');
    }
    if (stream.follows && !stream.endsBatch) {
      this.note(stream.name, stream.next, 'batch-incomplete', `the batch has ${stream.before.size - 1 - stream.before.index} more events`);
    }
  }

  // Parts C3 and C4.
  #checkClaim(name, count, leaf) {
    const stream = this.streams.get(name) ?? this.#unseen(name);
    if (count > stream.next) {
      this.note(name, stream.next, 'tail-missing', 'a head names more events');
      return;
    }
    if (count < stream.first || stream.isLost(count - 1) || (count === stream.first && !stream.firstPrevious)) {
      this.headsUnchecked++;
      return;
    }
    this.headsChecked++;
    const holds = count === stream.first ? stream.firstPrevious.equals(leaf) : stream.ends.has(count, leaf);
    if (!holds) this.note(name, count - 1, 'head-mismatch', 'a head names another event');
  }

  // #unseen stands for a stream without events: truncated up to the latest start
  // that is known, or never written.
  #unseen(name) {
    const stream = new Stream(name);
    const starts = this.starts.filter((start) => start.stream === name);
    const latest = starts.reduce((best, start) => (best && best.first >= start.first ? best : start), undefined);
    stream.first = stream.next = latest?.first ?? 0;
    stream.firstPrevious = latest?.previous;
    return stream;
  }
}

function decodeAnchorAt(revision, bytes) {
  const anchor = decodeAnchor(bytes);
  const own = anchor.heads.find((head) => head.stream === REGISTRY);
  if (own && own.count > revision) throw new Malformed('the anchor names registry events that come after it');
  return anchor;
}

function allows(start, stream) {
  return start.stream === stream.name && start.first === stream.first &&
    (!stream.firstPrevious || start.previous.equals(stream.firstPrevious));
}

function byPlace(a, b) {
  return compare(a.stream, b.stream) || compare(a.revision, b.revision) || compare(a.kind, b.kind);
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
