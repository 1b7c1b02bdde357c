// Parts B1 to B4 of verification (section 14 of domain/ledger/FORMAT.md): the
// place of an event in its stream.

import { HeadList } from './headlist.mjs';
import { NO_LEAF } from './structures.mjs';

const EPOCH_STARTED = 'epoch-started';

/** Stream is the state kept for one stream; the names are those of FORMAT.md. */
export class Stream {
  constructor(name) {
    this.name = name;
    this.first = undefined; // no event seen yet
    this.next = 0;
    this.firstPrevious = undefined;
    this.before = undefined; // the event at next - 1, { leaf, statement, index, size }, if it follows
    this.epoch = 0;
    this.lost = []; // ascending ranges [from, to] of revisions
    this.ends = new HeadList();
  }

  get seen() {
    return this.first !== undefined;
  }

  get follows() {
    return this.before !== undefined;
  }

  /**
   * arrive makes room for an event at a revision (B1, B2). It returns false for
   * an event out of order, of which nothing more is to be looked at.
   */
  arrive(revision, note) {
    if (!this.seen) {
      this.first = revision;
      if (revision === 0) this.before = { leaf: NO_LEAF };
    } else if (revision < this.next) {
      note(this.name, revision, 'out-of-order', `revision ${this.next} was expected next`);
      return false;
    } else if (revision > this.next) {
      note(this.name, this.next, 'missing', `the next event there is at revision ${revision}`);
      this.#lose(this.next, revision - 1);
    }
    this.next = revision + 1;
    return true;
  }

  /** skip takes note of a bad event at next - 1 (B3). */
  skip() {
    this.#lose(this.next - 1, this.next - 1);
  }

  /** place compares a good event at next - 1 with what came before it (B3, B4). */
  place({ header, receipt, leaf, statement }, note) {
    if (header.revision === this.first) this.firstPrevious = header.previous;
    const found = this.#misplaced(header, receipt, statement);
    if (found) note(this.name, header.revision, found[0], found[1]);
    this.before = { leaf, statement, index: receipt.index, size: receipt.size };
    this.epoch = Math.max(this.epoch, header.epoch);
    if (this.endsBatch) this.ends.push(this.next, leaf);
  }

  /** endsBatch says whether the event at next - 1 is the last of its batch. */
  get endsBatch() {
    return this.before.index === this.before.size - 1;
  }

  isLost(revision) {
    let low = 0;
    for (let high = this.lost.length; low < high;) {
      const middle = Math.floor((low + high) / 2);
      if (this.lost[middle][1] < revision) low = middle + 1;
      else high = middle;
    }
    return low < this.lost.length && this.lost[low][0] <= revision;
  }

  #misplaced(header, receipt, statement) {
    if (this.follows) {
      if (!header.previous.equals(this.before.leaf)) return ['chain-break', 'it does not follow the event before it'];
      if (!this.#continuesBatch(header, receipt, statement)) return ['batch-break', 'it does not continue the batch of the event before it'];
    }
    return this.#wrongEpoch(header);
  }

  #continuesBatch(header, receipt, statement) {
    if (header.revision === 0 || this.endsBatch) return receipt.index === 0;
    return receipt.index === this.before.index + 1 && this.before.statement.equals(statement);
  }

  #wrongEpoch({ epoch, type }) {
    if (epoch < this.epoch) return ['epoch-order', `epoch ${epoch} after epoch ${this.epoch}`];
    if (type === EPOCH_STARTED && epoch === this.epoch) return ['epoch-order', `epoch ${epoch} is started again`];
    if (type !== EPOCH_STARTED && this.follows && epoch > this.epoch) {
      return ['epoch-order', `epoch ${epoch} was never started`];
    }
    return undefined;
  }

  #lose(from, to) {
    const newest = this.lost.at(-1);
    if (newest && newest[1] + 1 === from) newest[1] = to;
    else this.lost.push([from, to]);
    this.before = undefined;
  }
}
