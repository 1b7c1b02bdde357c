// The three files that a verifier is given: a dump, public keys and heads.
// Sections 11 to 13 of domain/ledger/FORMAT.md. Each has one form only; whatever
// deviates makes the file unreadable.

import { createPublicKey } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { SIGNING_KEY_ID, STREAM, isInstant, sortedByStream } from './structures.mjs';

/** Unreadable says which file cannot be used, where and why. */
export class Unreadable extends Error {}

const MAX_LINE = 4194304; // bytes, with the line feed
const CHUNK = 1 << 20;
const LINE_FEED = 10;

/** readFile returns the text of a small file, a character for each byte. */
export function readFile(path) {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    throw new Unreadable(`reading ${path}: ${error.message}`);
  }
}

/** fileChunks reads a file of any size, piece by piece. */
export function* fileChunks(path) {
  const file = attempt(path, () => openSync(path, 'r'));
  try {
    for (;;) {
      const chunk = Buffer.allocUnsafe(CHUNK);
      const length = attempt(path, () => readSync(file, chunk));
      if (length === 0) return;
      yield chunk.subarray(0, length);
    }
  } finally {
    closeSync(file);
  }
}

function attempt(path, act) {
  try {
    return act();
  } catch (error) {
    throw new Unreadable(`reading ${path}: ${error.message}`);
  }
}

/** readDump yields the events of a dump, given its bytes in pieces. */
export function* readDump(chunks, name) {
  let number = 0;
  for (const line of lines(chunks, (problem) => new Unreadable(`${name}, line ${number + 1}: ${problem}`))) {
    number++;
    const event = parseDumpLine(line);
    if (!event) throw new Unreadable(`${name}, line ${number}: ${deviation(line)}`);
    yield event;
  }
}

// lines splits at line feeds alone; node:readline would also split at carriage
// returns and would accept a last line without its line feed.
function* lines(chunks, refusal) {
  let rest = Buffer.alloc(0);
  for (const chunk of chunks) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end; (end = bytes.indexOf(LINE_FEED, start)) >= 0; start = end + 1) {
      if (end + 1 - start > MAX_LINE) throw refusal(`longer than ${MAX_LINE} bytes`);
      yield bytes.latin1Slice(start, end);
    }
    rest = bytes.subarray(start);
    if (rest.length >= MAX_LINE) throw refusal(`longer than ${MAX_LINE} bytes`);
  }
  if (rest.length > 0) throw refusal('cut off: it does not end with a line feed');
}

const FRONT = new RegExp(
  '^\\{"stream":"([A-Za-z0-9._:-]{1,100})","revision":(0|[1-9][0-9]{0,15})' +
  ',"id":"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"' +
  ',"type":"([A-Za-z0-9._:/-]{1,100})","data":"');
const BETWEEN = '","metadata":"';
const BACK = '"}';

/** parseDumpLine returns null for a line that is not exactly as section 12 says. */
export function parseDumpLine(line) {
  const front = FRONT.exec(line);
  if (!front) return null;
  const revision = Number(front[2]);
  const dataEnd = line.indexOf('"', front[0].length);
  const metadataStart = dataEnd + BETWEEN.length;
  const metadataEnd = line.length - BACK.length;
  if (!Number.isSafeInteger(revision) || dataEnd < 0 || !line.startsWith(BETWEEN, dataEnd) ||
      metadataStart > metadataEnd || !line.endsWith(BACK)) return null;
  const data = decodeBase64(line.slice(front[0].length, dataEnd));
  const metadata = decodeBase64(line.slice(metadataStart, metadataEnd));
  if (!data || !metadata) return null;
  return { stream: front[1], revision, id: front[3], type: front[4], data, metadata };
}

// Node skips what is not base64; encoding again shows whether it did.
function decodeBase64(text) {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : null;
}

// deviation helps to find what is wrong in a line that was refused.
function deviation(line) {
  let object;
  try {
    object = JSON.parse(line);
  } catch (error) {
    return `not JSON: ${error.message.slice(0, 100)}`;
  }
  const { stream, revision, id, type, data, metadata } = object ?? {};
  const again = JSON.stringify({ stream, revision, id, type, data, metadata });
  let at = 0;
  while (at < line.length && line[at] === again[at]) at++;
  return again === line
    ? 'a name, a number, the id or base64 in it is not as the format allows'
    : `not the six fields of an event in their order without white space; it deviates at character ${at + 1}`;
}

const BLOCK = new RegExp(
  '-----BEGIN PUBLIC KEY-----\\nKey-Id: ([^\\n]*)\\nValid-From: ([^\\n]*)\\n(?:Valid-To: ([^\\n]*)\\n)?\\n' +
  '([^\\n]{64}\\n[^\\n]{60})\\n-----END PUBLIC KEY-----\\n', 'y');
const P256_KEY = '3059301306072a8648ce3d020106082a8648ce3d03010703420004';

/**
 * parseKeys returns a Map from key id to { key, from, to }, times in
 * microseconds, of a public keys file (section 11).
 */
export function parseKeys(text, name) {
  const keys = new Map();
  for (let at = 0; at < text.length;) {
    if (text[at] === '\n') {
      at++;
      continue;
    }
    const where = `${name}, line ${text.slice(0, at).split('\n').length}`;
    BLOCK.lastIndex = at;
    const block = BLOCK.exec(text);
    if (!block) throw new Unreadable(`${where}: not a public key with Key-Id and Valid-From as kiroku keys export-public writes it`);
    addKey(keys, block, where);
    at = BLOCK.lastIndex;
  }
  if (keys.size === 0) throw new Unreadable(`${name}: no public key in it`);
  return keys;
}

function addKey(keys, [, id, validFrom, validTo, base64], where) {
  if (!SIGNING_KEY_ID.test(id)) throw new Unreadable(`${where}: the Key-Id is not a name`);
  if (keys.has(id)) throw new Unreadable(`${where}: there is a key ${id} before`);
  const from = parseTime(validFrom, where);
  const to = validTo === undefined ? Infinity : parseTime(validTo, where);
  if (to <= from) throw new Unreadable(`${where}: Valid-To is not after Valid-From`);
  keys.set(id, { key: parseKey(base64, where), from, to });
}

function parseTime(text, where) {
  if (!/^[0-9]{4}-[^.]*Z$/.test(text) || !isInstant(text.replace('Z', '.000Z'))) {
    throw new Unreadable(`${where}: ${JSON.stringify(text)} is not a time from 1970 on in the form YYYY-MM-DDThh:mm:ssZ`);
  }
  return Date.parse(text) * 1000;
}

function parseKey(base64, where) {
  const der = decodeBase64(base64.replace('\n', ''));
  if (!der || !der.toString('hex').startsWith(P256_KEY)) {
    throw new Unreadable(`${where}: not an uncompressed public key on P-256`);
  }
  try {
    return createPublicKey({ key: der, format: 'der', type: 'spki' });
  } catch {
    throw new Unreadable(`${where}: the key is not a point on P-256`);
  }
}

/** parseHeads returns { ledger, heads } of a heads file (section 13). */
export function parseHeads(text, name) {
  const json = new Json(text, name);
  json.token('{').field('ledger');
  const ledger = json.string(/^[0-9a-f]{64}$/);
  json.token(',').field('heads').token('[');
  const heads = [];
  if (!json.has(']')) {
    do heads.push(parseHead(json)); while (json.has(','));
    json.token(']');
  }
  json.token(',').field('time');
  const time = json.string(/^[0-9]{4}-[^.]*\.[0-9]{6}Z$/);
  json.token('}').end();
  if (!isMicrosecond(time)) throw json.refusal('the time does not exist, or is not in 1970 to 2255');
  if (!sortedByStream(heads)) throw json.refusal('the heads are not sorted by stream');
  return { ledger, heads };
}

// isMicrosecond says whether a time can stand in a header, which counts
// microseconds up to 2^53 - 1.
function isMicrosecond(text) {
  const milliseconds = `${text.slice(0, -4)}Z`;
  const rest = Number(text.slice(-4, -1));
  return isInstant(milliseconds) && Date.parse(milliseconds) * 1000 + rest <= Number.MAX_SAFE_INTEGER;
}

function parseHead(json) {
  json.token('{').field('stream');
  const stream = json.string(STREAM);
  json.token(',').field('count');
  const count = json.count();
  json.token(',').field('leaf');
  const leaf = Buffer.from(json.string(/^[0-9a-f]{64}$/), 'hex');
  json.token('}');
  return { stream, count, leaf };
}

// Json reads JSON of a known shape. JSON.parse would accept fields in any order,
// fields twice, escapes and other forms of a number.
class Json {
  constructor(text, name) {
    this.text = text;
    this.name = name;
    this.at = 0;
  }

  refusal(problem) {
    const line = this.text.slice(0, this.at).split('\n').length;
    return new Unreadable(`${this.name}, line ${line}: ${problem}; not a heads file as kiroku heads writes it`);
  }

  has(token) {
    this.#skipSpace();
    if (!this.text.startsWith(token, this.at)) return false;
    this.at += token.length;
    return true;
  }

  token(token) {
    if (!this.has(token)) throw this.refusal(`${token} expected`);
    return this;
  }

  field(name) {
    return this.token(`"${name}"`).token(':');
  }

  string(pattern) {
    const [, value] = this.#match(/"([^"\\]*)"/y, 'a text expected');
    if (!pattern.test(value)) throw this.refusal(`${JSON.stringify(value)} is not allowed there`);
    return value;
  }

  count() {
    const value = Number(this.#match(/[1-9][0-9]*(?![0-9.eE])/y, 'a number of at least 1 expected')[0]);
    if (!Number.isSafeInteger(value)) throw this.refusal('the count is above 2^53 - 1');
    return value;
  }

  end() {
    this.#skipSpace();
    if (this.at !== this.text.length) throw this.refusal('something stands after the object');
  }

  #match(pattern, problem) {
    this.#skipSpace();
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (!found) throw this.refusal(problem);
    this.at = pattern.lastIndex;
    return found;
  }

  #skipSpace() {
    while (this.at < this.text.length && ' \t\n\r'.includes(this.text[this.at])) this.at++;
  }
}
