// The test vectors of section 15 of domain/ledger/FORMAT.md: the verifier held
// to what they say.

import { createDecipheriv, createHmac } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Malformed, Reader } from './cbor.mjs';
import { Unreadable, fileChunks, parseHeads, parseKeys, readDump, readFile } from './files.mjs';
import { Ledger } from './ledger.mjs';
import {
  EVENT_TYPE, PAYLOAD_KEY_ID, STREAM, decodeAnchor, decodeDayOpened, decodeMetadata, decodeTruncation, encodeStatement,
  leafHash, nodeHash, pathLength, rootOf, sha256, sigStructure,
} from './structures.mjs';

/**
 * runVectors tries all vectors below a folder. It returns { vectors, encodings,
 * refused }, each a list of { name, problem } where problem is undefined if the
 * vector agrees; those of vectors also have verdict, findings and error. Only
 * vectors.json has to be there.
 */
export function runVectors(folder) {
  return {
    vectors: readJson(folder, 'vectors.json').map((vector) => runVector(folder, vector)),
    encodings: existsSync(join(folder, 'encodings.json')) ? runEncodings(readJson(folder, 'encodings.json')) : [],
    refused: existsSync(join(folder, 'refused.json')) ? runRefused(readJson(folder, 'refused.json')) : [],
  };
}

function readJson(folder, file) {
  const path = join(folder, file);
  try {
    return JSON.parse(Buffer.from(readFile(path), 'latin1').toString());
  } catch (error) {
    if (error instanceof Unreadable) throw error;
    throw new Unreadable(`${path}: ${error.message}`);
  }
}

function runVector(folder, vector) {
  const result = judge(folder, vector);
  const told = result.findings?.map(({ stream, revision, kind }) => ({ stream, revision, kind }));
  const problem = firstDifference([
    ['events', vector.events, result.events],
    ['verdict', vector.verdict, result.verdict],
    ['findings', JSON.stringify(vector.findings), JSON.stringify(told)],
  ]);
  return { name: vector.name, problem, verdict: result.verdict, findings: result.findings, error: result.error };
}

// judge gives the verdict "unreadable" where section 14 gives none.
function judge(folder, vector) {
  try {
    const keys = parseKeys(readFile(join(folder, vector.keys)), vector.keys);
    const heads = vector.heads.map((path) => parseHeads(readFile(join(folder, path)), path));
    const starts = vector.starts.map(({ stream, first, prev }) => ({ stream, first, previous: Buffer.from(prev, 'hex') }));
    const ledger = new Ledger(keys, { heads, starts });
    for (const event of readDump(fileChunks(join(folder, vector.dump)), vector.dump)) ledger.add(event);
    const findings = ledger.finish();
    return { events: ledger.events, verdict: findings.length === 0 ? 'valid' : 'tampered', findings };
  } catch (error) {
    if (error instanceof Unreadable) return { events: vector.events, verdict: 'unreadable', findings: [], error: error.message };
    throw error;
  }
}

function firstDifference(comparisons) {
  const different = comparisons.find(([, expected, got]) => expected !== got);
  return different && `${different[0]}: expected ${different[1]}, got ${different[2]}`;
}

function runEncodings(encodings) {
  return [
    ...encodings.events.map((vector, e) => agreement(`events[${e}]`, () => compareEvent(vector))),
    ...encodings.merkle.map((vector) => agreement(`merkle of ${vector.leaves.length}`, () => compareTree(vector))),
    agreement('payload', () => comparePayload(encodings.payload)),
    agreement('data_key', () => compareDataKey(encodings.data_key)),
    agreement('anchor', () => compareAnchor(encodings.anchor)),
    agreement('truncation', () => compareTruncation(encodings.truncation)),
    agreement('day_opened', () => compareDayOpened(encodings.day_opened)),
  ];
}

function agreement(name, compare) {
  try {
    return { name, problem: firstDifference(compare()) };
  } catch (error) {
    return { name, problem: error.message };
  }
}

const fromHex = (text) => Buffer.from(text, 'hex');
const hex = (bytes) => bytes.toString('hex');

function compareEvent(vector) {
  const { header, headerBytes, receipt, receiptBytes } = decodeMetadata(fromHex(vector.metadata));
  const leaf = leafHash(headerBytes);
  const root = rootOf(leaf, receipt.index, receipt.size, receipt.path);
  const statement = encodeStatement(header, receipt, root);
  return [
    ['stream', vector.stream, header.stream],
    ['revision', vector.revision, header.revision],
    ['header', vector.header, hex(headerBytes)],
    ['leaf', vector.leaf, hex(leaf)],
    ['receipt', vector.receipt, hex(receiptBytes)],
    ['root', vector.root, hex(root)],
    ['statement', vector.statement, hex(statement)],
    ['sig_structure', vector.sig_structure, hex(sigStructure(receipt.signed.protectedHeader, statement))],
    ['cose_sign1', vector.cose_sign1, hex(receipt.signature)],
    ['signer', vector.signer, receipt.signed.keyId],
  ];
}

function compareTree(vector) {
  const leaves = vector.leaves.map(fromHex);
  const climbs = vector.paths.flatMap((path, i) => [
    [`length of path ${i}`, path.length, pathLength(i, leaves.length)],
    [`root from path ${i}`, vector.root, hex(rootOf(leaves[i], i, leaves.length, path.map(fromHex)))],
  ]);
  return [['root', vector.root, hex(treeRoot(leaves))], ...climbs];
}

// treeRoot follows the recursive definition, which rootOf does not.
function treeRoot(leaves) {
  if (leaves.length === 1) return leaves[0];
  let k = 1;
  while (2 * k < leaves.length) k *= 2;
  return nodeHash(treeRoot(leaves.slice(0, k)), treeRoot(leaves.slice(k)));
}

function comparePayload(vector) {
  const stored = fromHex(vector.stored);
  const decipher = createDecipheriv('aes-256-gcm', fromHex(vector.key), fromHex(vector.nonce), { authTagLength: 16 });
  decipher.setAAD(fromHex(vector.aad));
  decipher.setAuthTag(stored.subarray(-16));
  const padded = Buffer.concat([decipher.update(stored.subarray(0, -16)), decipher.final()]);
  const length = padded.readUInt32BE(0);
  return [
    ['padded', vector.padded, hex(padded)],
    ['length', 256 * Math.ceil((4 + length) / 256), padded.length],
    ['plaintext', vector.plaintext, hex(padded.subarray(4, 4 + length))],
    ['padding', '', hex(padded.subarray(4 + length)).replace(/0/g, '')],
    ['digest', vector.digest, hex(sha256(stored))],
    ['stream of the aad', 'record-0', aadStream(fromHex(vector.aad))],
  ];
}

// aadStream reads additional data to its end; only one form passes.
function aadStream(bytes) {
  const reader = new Reader(bytes);
  reader.array('the additional data', 6);
  reader.uint('the format version', 1, 1);
  const stream = reader.text('the stream', STREAM);
  reader.byteString('the event id', 16);
  reader.text('the event type', EVENT_TYPE);
  reader.uint('the time');
  reader.text('the key id', PAYLOAD_KEY_ID);
  reader.end('the additional data');
  return stream;
}

function compareDataKey(vector) {
  const input = Buffer.concat([Buffer.from('data'), prefixed(vector.stream), prefixed(vector.day), fromHex(vector.salt)]);
  const key = createHmac('sha256', fromHex(vector.day_key)).update(input).digest();
  const commitment = sha256(Buffer.concat([Buffer.from('kiroku/commit/1'), key])).subarray(0, 16);
  return [
    ['input', vector.input, hex(input)],
    ['data_key', vector.data_key, hex(key)],
    ['commitment', vector.commitment, hex(commitment)],
    ['key_id', true, vector.key_id.startsWith(`record/${vector.day}/${vector.stream}/`)],
  ];
}

function prefixed(text) {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 255), bytes]);
}

function compareAnchor({ payload, fields }) {
  const anchor = decodeAnchor(fromHex(payload));
  const heads = anchor.heads.map(({ stream, count, leaf }) => `${stream} ${count} ${hex(leaf)}`);
  const expected = fields.heads.map(({ stream, count, leaf }) => `${stream} ${count} ${leaf}`);
  return [
    ['time', fields.time, anchor.time],
    ['previous', fields.previous, hex(anchor.previous)],
    ['heads', expected.join(', '), heads.join(', ')],
  ];
}

function compareTruncation({ payload, fields }) {
  const truncation = decodeTruncation(fromHex(payload));
  return [
    ['stream', fields.stream, truncation.stream],
    ['first', fields.first, truncation.first],
    ['prev', fields.prev, hex(truncation.previous)],
  ];
}

function compareDayOpened({ payload, fields }) {
  const opened = decodeDayOpened(fromHex(payload));
  return [
    ['day', fields.day, opened.day],
    ['salt', fields.salt, hex(opened.salt)],
    ['commitment', fields.commitment, hex(opened.commitment)],
  ];
}

const READERS = {
  dump: ({ text }) => [...readDump([Buffer.from(text)], 'dump')],
  keys: ({ text }) => parseKeys(Buffer.from(text).latin1Slice(), 'keys'),
  heads: ({ text }) => parseHeads(Buffer.from(text).latin1Slice(), 'heads'),
  metadata: ({ hex: bytes }) => decodeMetadata(fromHex(bytes)),
  anchor: ({ hex: bytes }) => decodeAnchor(fromHex(bytes)),
  truncation: ({ hex: bytes }) => decodeTruncation(fromHex(bytes)),
  day_opened: ({ hex: bytes }) => decodeDayOpened(fromHex(bytes)),
};

function runRefused(refused) {
  return Object.entries(refused).flatMap(([part, inputs]) => inputs.map((input) => ({
    name: `${part}: ${input.name}`,
    problem: READERS[part] ? acceptance(READERS[part], input) : 'no reader for this part',
  })));
}

function acceptance(read, input) {
  try {
    read(input);
    return 'accepted, and has to be refused';
  } catch (error) {
    return error instanceof Malformed || error instanceof Unreadable ? undefined : error.message;
  }
}
