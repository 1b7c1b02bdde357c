// Heads of one stream, as many as a ledger of years has.

const LEAF = 32;

/**
 * HeadList keeps pairs of count and leaf hash, in ascending order of count, in
 * 40 bytes each: a ledger has millions of batches, and anchors name many of
 * their ends.
 */
export class HeadList {
  constructor() {
    this.length = 0;
    this.counts = new Float64Array(4);
    this.leaves = Buffer.alloc(4 * LEAF);
  }

  /** push adds a head with a count above all before it. */
  push(count, leaf) {
    if (this.length === this.counts.length) this.#grow();
    this.counts[this.length] = count;
    leaf.copy(this.leaves, this.length * LEAF);
    this.length++;
  }

  count(position) {
    return this.counts[position];
  }

  leaf(position) {
    return this.leaves.subarray(position * LEAF, (position + 1) * LEAF);
  }

  /** has says whether the stream had this leaf at the end of so many events. */
  has(count, leaf) {
    let low = 0;
    for (let high = this.length; low < high;) {
      const middle = Math.floor((low + high) / 2);
      if (this.counts[middle] < count) low = middle + 1;
      else high = middle;
    }
    return low < this.length && this.counts[low] === count && this.leaf(low).equals(leaf);
  }

  #grow() {
    const counts = new Float64Array(2 * this.length);
    counts.set(this.counts);
    const leaves = Buffer.alloc(2 * this.leaves.length);
    this.leaves.copy(leaves);
    this.counts = counts;
    this.leaves = leaves;
  }
}
