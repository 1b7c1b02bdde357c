// Part A of verification (section 14 of domain/ledger/FORMAT.md): what can be
// said of each event alone.

import { verify } from 'node:crypto';
import { Malformed } from './cbor.mjs';
import { decodeMetadata, encodeStatement, leafHash, rootOf, sha256, sigStructure } from './structures.mjs';

/**
 * EventCheck holds public keys and, for each stream, the last signature it has
 * verified: the events of a batch share one, and they come one after another.
 */
export class EventCheck {
  constructor(keys) {
    this.keys = keys;
    this.newest = new Map(); // stream → { statement, signature, genuine }
    this.signatures = 0;
  }

  /**
   * check returns { header, receipt, leaf, statement } of a good event, and
   * { kind, detail } of a bad one.
   */
  check(event) {
    let decoded;
    try {
      decoded = decodeMetadata(event.metadata);
    } catch (error) {
      if (error instanceof Malformed) return { kind: 'malformed', detail: error.message };
      throw error;
    }
    const { header, headerBytes, receipt } = decoded;
    const leaf = leafHash(headerBytes);
    return differentField(event, header) ?? otherPayload(event, header) ?? otherReceipt(event, header, receipt, leaf) ??
      this.#unusableKey(header, receipt) ?? this.#checkSignature(header, receipt, leaf);
  }

  #unusableKey(header, { signed }) {
    const key = this.keys.get(signed.keyId);
    if (!key) return { kind: 'unknown-key', detail: `${signed.keyId} is not in the public keys file` };
    if (key.from <= header.time && header.time < key.to) return undefined;
    return { kind: 'key-not-valid', detail: `${signed.keyId} was not valid at the event's time` };
  }

  #checkSignature(header, receipt, leaf) {
    const root = rootOf(leaf, receipt.index, receipt.size, receipt.path);
    const statement = encodeStatement(header, receipt, root);
    if (!this.#genuine(header.stream, receipt, statement)) {
      return { kind: 'bad-signature', detail: `not signed by ${receipt.signed.keyId}` };
    }
    return { header, receipt, leaf, statement };
  }

  #genuine(stream, { signature, signed }, statement) {
    const newest = this.newest.get(stream);
    if (newest?.statement.equals(statement) && newest.signature.equals(signature)) return newest.genuine;
    const { key } = this.keys.get(signed.keyId);
    const genuine = verify('sha256', sigStructure(signed.protectedHeader, statement), { key, dsaEncoding: 'ieee-p1363' }, signed.rs);
    this.signatures++;
    this.newest.set(stream, { statement, signature, genuine });
    return genuine;
  }
}

function differentField(event, header) {
  const fields = [
    ['stream', event.stream, header.stream],
    ['revision', event.revision, header.revision],
    ['event id', event.id.replaceAll('-', ''), header.id.toString('hex')],
    ['type', event.type, header.type],
  ];
  const different = fields.find(([, stored, signed]) => stored !== signed);
  return different && { kind: 'field-mismatch', detail: `the header has ${different[0]} ${different[2]}` };
}

function otherPayload(event, header) {
  if (sha256(event.data).equals(header.digest)) return undefined;
  return { kind: 'payload-mismatch', detail: 'the payload is not the one in the header' };
}

function otherReceipt(event, header, receipt, leaf) {
  const mismatch = (detail) => ({ kind: 'receipt-mismatch', detail });
  // Subtracting stays exact where adding could pass 2^53.
  if (event.revision - receipt.index !== receipt.firstRevision) return mismatch('the receipt is for another revision');
  if (receipt.index === 0 && !receipt.previous.equals(header.previous)) {
    return mismatch('the receipt names another event before the batch');
  }
  if (receipt.index === receipt.size - 1 && !receipt.last.equals(leaf)) {
    return mismatch('the receipt names another event as the last of the batch');
  }
  return undefined;
}
