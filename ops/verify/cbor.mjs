// Reading and writing the CBOR of domain/ledger/FORMAT.md, section 1: the
// deterministic encoding, in which everything has exactly one form. The reader
// therefore refuses all other forms instead of normalising them.

/** Malformed says that bytes are not what the format allows in their place. */
export class Malformed extends Error {}

const UINT = 0, BYTES = 2, TEXT = 3, ARRAY = 4, MAP = 5;
const MAX_INTEGER = Number.MAX_SAFE_INTEGER; // 2^53 - 1, the bound of section 1

/** Reader walks over one encoded structure from its first byte to its last. */
export class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  uint(what, lowest = 0, highest = MAX_INTEGER) {
    const value = this.#head(UINT, what);
    if (value < lowest || value > highest) {
      throw new Malformed(`${what} is ${value}, outside ${lowest} to ${highest}`);
    }
    return value;
  }

  /** byteString returns a view of the bytes; size undefined allows any length. */
  byteString(what, size) {
    const length = this.#head(BYTES, what);
    if (size !== undefined && length !== size) {
      throw new Malformed(`${what} has ${length} bytes instead of ${size}`);
    }
    return this.#take(length, what);
  }

  /** text reads a text string that must match the pattern, which allows ASCII only. */
  text(what, pattern) {
    const value = this.#take(this.#head(TEXT, what), what).latin1Slice();
    if (!pattern.test(value)) throw new Malformed(`${what} is not a name allowed there`);
    return value;
  }

  array(what, size) {
    const length = this.#head(ARRAY, what);
    if (size !== undefined && length !== size) {
      throw new Malformed(`${what} has ${length} elements instead of ${size}`);
    }
    return length;
  }

  /** map reads the head of a map and returns how many entries follow. */
  map(what, ...sizes) {
    const length = this.#head(MAP, what);
    if (!sizes.includes(length)) {
      throw new Malformed(`${what} has ${length} entries instead of ${sizes.join(' or ')}`);
    }
    return length;
  }

  /** key reads the key of a map entry. */
  key(expected) {
    if (this.#head(UINT, 'a map key') !== expected) throw new Malformed(`field ${expected} is not where it belongs`);
  }

  /** literal reads bytes that have only one possible value. */
  literal(expected, what) {
    if (!this.#take(expected.length, what).equals(expected)) throw new Malformed(`${what} is not as specified`);
  }

  /** end says that the structure is complete. */
  end(what) {
    if (this.at !== this.bytes.length) throw new Malformed(`${this.bytes.length - this.at} bytes after ${what}`);
  }

  #head(major, what) {
    const initial = this.#take(1, what)[0];
    if (initial >> 5 !== major) throw new Malformed(`${what} is of the wrong type`);
    const low = initial & 31;
    if (low < 24) return low;
    if (low > 27) throw new Malformed(`${what} has an indefinite or reserved length`);
    return this.#longInteger(1 << (low - 24), what);
  }

  #longInteger(width, what) {
    const digits = this.#take(width, what);
    const value = width < 8
      ? digits.readUIntBE(0, width)
      : digits.readUInt32BE(0) * 2 ** 32 + digits.readUInt32BE(4);
    const lowest = width === 1 ? 24 : 2 ** (4 * width);
    if (value < lowest) throw new Malformed(`${what} is not in its shortest form`);
    if (value > MAX_INTEGER) throw new Malformed(`${what} is above 2^53 - 1`);
    return value;
  }

  #take(length, what) {
    const end = this.at + length;
    if (end > this.bytes.length) throw new Malformed(`${what} is cut off`);
    const taken = this.bytes.subarray(this.at, end);
    this.at = end;
    return taken;
  }
}

function head(major, value) {
  if (value < 24) return Buffer.of((major << 5) | value);
  const width = value < 2 ** 8 ? 1 : value < 2 ** 16 ? 2 : value < 2 ** 32 ? 4 : 8;
  const out = Buffer.alloc(1 + width);
  out[0] = (major << 5) | (24 + Math.log2(width));
  if (width < 8) {
    out.writeUIntBE(value, 1, width);
  } else {
    out.writeUInt32BE(Math.floor(value / 2 ** 32), 1);
    out.writeUInt32BE(value % 2 ** 32, 5);
  }
  return out;
}

export const encodeUint = (value) => head(UINT, value);
export const encodeBytes = (bytes) => Buffer.concat([head(BYTES, bytes.length), bytes]);
export const encodeText = (text) => Buffer.concat([head(TEXT, Buffer.byteLength(text)), Buffer.from(text)]);
export const encodeArray = (...encoded) => Buffer.concat([head(ARRAY, encoded.length), ...encoded]);
