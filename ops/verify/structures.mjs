// What the ledger's bytes mean: metadata, header, receipt, signature and the
// statement it covers, and the payloads of the registry that take part in
// verification. Sections 2 to 10 of domain/ledger/FORMAT.md.

import * as crypto from 'node:crypto';
import { Malformed, Reader, encodeArray, encodeBytes, encodeText, encodeUint } from './cbor.mjs';

export const STREAM = /^[A-Za-z0-9._:-]{1,100}$/;
export const EVENT_TYPE = /^[A-Za-z0-9._:/-]{1,100}$/;
export const SIGNING_KEY_ID = /^[A-Za-z0-9._:/-]{1,100}$/;
export const PAYLOAD_KEY_ID = /^[A-Za-z0-9._:/-]{1,160}$/;
const DAY = /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/;

export const REGISTRY = 'registry';
export const NO_LEAF = Buffer.alloc(32);
const NO_ID = Buffer.alloc(16);
const MAX_BATCH = 65536;

const TAGGED_ARRAY_OF_FOUR = Buffer.from('d284', 'hex');
const ES256_AND_KEY_ID = Buffer.from('a2012604', 'hex');
const NO_HEADER_NO_PAYLOAD = Buffer.from('a0f6', 'hex');
const SIGNATURE1 = Buffer.from('846a5369676e617475726531', 'hex');
const NO_EXTERNAL_DATA = Buffer.of(0x40);

const ZERO = Buffer.alloc(32);
const GROUP_ORDER = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
const HALF_ORDER = Buffer.from('7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8', 'hex');

// crypto.hash came with Node 20.12 and costs half of createHash.
export const sha256 = crypto.hash
  ? (bytes) => crypto.hash('sha256', bytes, 'buffer')
  : (bytes) => crypto.createHash('sha256').update(bytes).digest();

/**
 * decodeMetadata returns { header, headerBytes, receipt }, or throws Malformed
 * (section 2).
 */
export function decodeMetadata(bytes) {
  const reader = new Reader(bytes);
  reader.array('the metadata', 2);
  const headerBytes = reader.byteString('the header');
  const receiptBytes = reader.byteString('the receipt');
  reader.end('the metadata');
  return { header: decodeHeader(headerBytes), headerBytes, receipt: decodeReceipt(receiptBytes), receiptBytes };
}

/** decodeHeader reads section 3. keyId and nonce are undefined for signed plaintext. */
export function decodeHeader(bytes) {
  const reader = new Reader(bytes);
  const sealed = reader.map('the header', 9, 11) === 11;
  const header = {};
  reader.key(1);
  reader.uint('the format version', 1, 1);
  reader.key(2);
  header.stream = reader.text('the stream', STREAM);
  reader.key(3);
  header.revision = reader.uint('the revision');
  reader.key(4);
  header.epoch = reader.uint('the epoch', 1);
  reader.key(5);
  header.previous = reader.byteString('the previous leaf hash', 32);
  reader.key(6);
  header.type = reader.text('the event type', EVENT_TYPE);
  reader.key(7);
  header.id = reader.byteString('the event id', 16);
  reader.key(8);
  header.time = reader.uint('the time');
  if (sealed) {
    reader.key(9);
    header.keyId = reader.text('the key id of the payload', PAYLOAD_KEY_ID);
    reader.key(10);
    header.nonce = reader.byteString('the nonce', 12);
  }
  reader.key(11);
  header.digest = reader.byteString('the digest', 32);
  reader.end('the header');
  if (header.id.equals(NO_ID)) throw new Malformed('the event id is all zero');
  if (header.revision === 0 && !header.previous.equals(NO_LEAF)) {
    throw new Malformed('revision 0 has a previous leaf hash');
  }
  return header;
}

/** decodeReceipt reads section 6, with the signature taken apart as signed. */
export function decodeReceipt(bytes) {
  const reader = new Reader(bytes);
  const receipt = {};
  reader.map('the receipt', 7);
  reader.key(1);
  receipt.size = reader.uint('the tree size', 1, MAX_BATCH);
  reader.key(2);
  receipt.index = reader.uint('the index', 0, receipt.size - 1);
  reader.key(3);
  receipt.path = decodePath(reader, pathLength(receipt.index, receipt.size));
  reader.key(4);
  receipt.firstRevision = reader.uint('the first revision');
  reader.key(5);
  receipt.previous = reader.byteString('the previous leaf hash of the batch', 32);
  reader.key(6);
  receipt.last = reader.byteString('the last leaf hash of the batch', 32);
  reader.key(7);
  receipt.signature = reader.byteString('the signature');
  reader.end('the receipt');
  receipt.signed = decodeSignature(receipt.signature);
  return receipt;
}

function decodePath(reader, length) {
  reader.array('the path', length);
  const path = [];
  for (let p = 0; p < length; p++) path.push(reader.byteString('a hash of the path', 32));
  return path;
}

/** decodeSignature reads the COSE_Sign1 of section 7. */
export function decodeSignature(bytes) {
  const reader = new Reader(bytes);
  reader.literal(TAGGED_ARRAY_OF_FOUR, 'the head of the signature');
  const protectedHeader = reader.byteString('the protected header');
  reader.literal(NO_HEADER_NO_PAYLOAD, 'what stands between protected header and signature');
  const rs = reader.byteString('the pair r, s', 64);
  reader.end('the signature');
  refuseOtherForms(rs.subarray(0, 32), rs.subarray(32));
  return { protectedHeader, keyId: decodeProtectedHeader(protectedHeader), rs };
}

function decodeProtectedHeader(bytes) {
  const reader = new Reader(bytes);
  reader.literal(ES256_AND_KEY_ID, 'the algorithm of the signature');
  const keyId = reader.byteString('the key id of the signature').latin1Slice();
  reader.end('the protected header');
  if (!SIGNING_KEY_ID.test(keyId)) throw new Malformed('the key id of the signature is not a name');
  return keyId;
}

// A high s would be a second valid form of the same signature.
function refuseOtherForms(r, s) {
  if (r.equals(ZERO) || r.compare(GROUP_ORDER) >= 0) throw new Malformed('r of the signature is out of range');
  if (s.equals(ZERO) || s.compare(HALF_ORDER) > 0) throw new Malformed('s of the signature is out of range');
}

/** leafHash names an event (section 4). */
export const leafHash = (headerBytes) => sha256(Buffer.concat([Buffer.of(0), headerBytes]));

/** nodeHash joins two nodes of a batch's tree (section 5). */
export function nodeHash(left, right) {
  const input = Buffer.allocUnsafe(65);
  input[0] = 1;
  left.copy(input, 1);
  right.copy(input, 33);
  return sha256(input);
}

/** pathLength counts the siblings between a leaf and the root. */
export function pathLength(index, size) {
  let length = 0;
  for (let i = index, last = size - 1; last > 0; i >>= 1, last >>= 1) {
    if (i % 2 === 1 || i < last) length++;
  }
  return length;
}

/** rootOf climbs from a leaf along a path of the right length (section 5). */
export function rootOf(leaf, index, size, path) {
  let node = leaf;
  let p = 0;
  for (let i = index, last = size - 1; last > 0; i >>= 1, last >>= 1) {
    if (i % 2 === 1) node = nodeHash(path[p++], node);
    else if (i < last) node = nodeHash(node, path[p++]);
  }
  return node;
}

const CONTEXT = encodeText('kiroku/batch/1');

/** encodeStatement builds what the signature of an event's batch covers (section 7). */
export function encodeStatement(header, receipt, root) {
  return encodeArray(
    CONTEXT,
    encodeText(header.stream),
    encodeUint(header.epoch),
    encodeUint(receipt.firstRevision),
    encodeUint(receipt.size),
    encodeBytes(receipt.previous),
    encodeBytes(receipt.last),
    encodeBytes(root),
  );
}

/** sigStructure is the input of ECDSA (section 7). */
export function sigStructure(protectedHeader, statement) {
  return Buffer.concat([SIGNATURE1, encodeBytes(protectedHeader), NO_EXTERNAL_DATA, encodeBytes(statement)]);
}

/** decodeAnchor reads the payload of an anchor (section 10). */
export function decodeAnchor(bytes) {
  const reader = new Reader(bytes);
  const anchor = { heads: [] };
  reader.map('the anchor', 3);
  reader.key(1);
  anchor.time = reader.uint('the time of the anchor');
  reader.key(2);
  anchor.previous = reader.byteString('the leaf hash of the anchor before', 32);
  reader.key(3);
  const length = reader.array('the heads');
  for (let h = 0; h < length; h++) anchor.heads.push(decodeHead(reader));
  reader.end('the anchor');
  if (!sortedByStream(anchor.heads)) throw new Malformed('the heads are not sorted by stream');
  return anchor;
}

function decodeHead(reader) {
  reader.array('a head', 3);
  return {
    stream: reader.text('the stream of a head', STREAM),
    count: reader.uint('the count of a head', 1),
    leaf: reader.byteString('the leaf hash of a head', 32),
  };
}

/** sortedByStream also refuses a stream that stands there twice. */
export function sortedByStream(heads) {
  return heads.every((head, h) => h === 0 || heads[h - 1].stream < head.stream);
}

/** decodeTruncation reads the payload of stream-truncated (section 10). */
export function decodeTruncation(bytes) {
  const reader = new Reader(bytes);
  const truncation = {};
  reader.map('the truncation', 3);
  reader.key(1);
  truncation.stream = reader.text('the truncated stream', STREAM);
  reader.key(2);
  truncation.first = reader.uint('the first revision that stays', 1);
  reader.key(3);
  truncation.previous = reader.byteString('the leaf hash before it', 32);
  reader.end('the truncation');
  if (truncation.stream === REGISTRY) throw new Malformed('the registry cannot be truncated');
  return truncation;
}

/** decodeDayOpened reads the payload of day-opened (section 9). */
export function decodeDayOpened(bytes) {
  const reader = new Reader(bytes);
  const opened = {};
  reader.map('the opening of a day', 3);
  reader.key(1);
  opened.day = reader.text('the day', DAY);
  reader.key(2);
  opened.salt = reader.byteString('the salt', 32);
  reader.key(3);
  opened.commitment = reader.byteString('the commitment', 16);
  reader.end('the opening of a day');
  if (!isDay(opened.day)) throw new Malformed('the day does not exist');
  return opened;
}

/** isDay says whether a day, YYYY-MM-DD, exists in the calendar. */
export const isDay = (day) => exists(`${day}T00:00:00.000Z`);

/** isInstant says whether a time with milliseconds exists, not before 1970. */
export const isInstant = (text) => exists(text) && Date.parse(text) >= 0;

// Date.parse takes 30 February for 1 March; writing the time again shows it.
function exists(text) {
  const time = new Date(text);
  return !Number.isNaN(time.getTime()) && time.toISOString() === text;
}
