#!/usr/bin/env node
// A second verifier of the ledger, for auditors who do not want to trust the
// first. It shares no code with it: it was written from domain/ledger/FORMAT.md
// alone, and needs nothing but Node 20 and the folder verify beside it.

import { parseArgs } from 'node:util';
import { Unreadable, fileChunks, parseHeads, parseKeys, readDump, readFile } from './verify/files.mjs';
import { Ledger } from './verify/ledger.mjs';
import { STREAM } from './verify/structures.mjs';
import { runVectors } from './verify/vectors.mjs';

const GOOD = 0, WRONG = 1, COULD_NOT_RUN = 2;
const SHOWN = 100;

const HELP = `Usage: node ops/verify.mjs --from FILE.jsonl --keys FILE.pem [--heads FILE.json]... [--json]
       node ops/verify.mjs --vectors DIRECTORY [--json]

Verify a dump of the ledger, without trusting the program that wrote it.

Every event is checked: the header that chains it to the event before it, its
batch's Merkle tree and signature, the digest of its payload, and the anchors.
No key that opens a payload is needed, and no payload is opened.

Trust comes from outside. Whoever wrote the dump could also have made up the
keys: compare the file with the one you were given earlier. Heads you wrote down
earlier show whether the end of the ledger was cut off, or replaced, since then.

Make the input with the system itself:

    kiroku dump --out ledger.jsonl
    kiroku keys export-public --out keys.pem
    kiroku heads --out heads-2026-11-01.json       # and keep it somewhere else

and verify it on another machine:

    node ops/verify.mjs --from ledger.jsonl --keys keys.pem --heads heads-2026-11-01.json

Options:
  --from FILE.jsonl   The dump.
  --keys FILE.pem     The public keys to trust.
  --heads FILE.json   Heads written down earlier; may be repeated.
  --start STREAM,FIRST,PREVIOUS
                      A stream may begin at revision FIRST, after the event with
                      the leaf hash PREVIOUS (64 hexadecimal digits); may be
                      repeated. Needed only where the ledger's own record of a
                      truncation is not in the dump.
  --json              Print the result as one JSON object, with all findings.
  --vectors DIRECTORY Run the test vectors there, for example
                      domain/ledger/testdata, and say which disagree.
  --help              Print this.

A finding names a stream, a revision (0 is the first event of a stream) and what
is wrong there, in the words of section 14 of domain/ledger/FORMAT.md, which also
says what may have caused it.

Exit status: 0 all is in order; 1 something was found wrong; 2 could not run,
because an argument is wrong or a file cannot be read.
`;

/** Misuse says what is wrong with the arguments. */
class Misuse extends Error {}

function readArguments(args) {
  try {
    return parseArgs({
      args,
      options: {
        from: { type: 'string' },
        keys: { type: 'string' },
        heads: { type: 'string', multiple: true, default: [] },
        start: { type: 'string', multiple: true, default: [] },
        vectors: { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    throw new Misuse(error.message);
  }
}

function refuseContradictions({ from, keys, heads, start, vectors }) {
  if (vectors !== undefined) {
    if (from !== undefined || keys !== undefined || heads.length + start.length > 0) {
      throw new Misuse('--vectors goes with --json only');
    }
    return;
  }
  if (from === undefined) throw new Misuse('--from FILE.jsonl is missing: the dump to verify');
  if (keys === undefined) throw new Misuse('--keys FILE.pem is missing: the public keys to trust');
}

function parseStart(text) {
  const [, stream, first, previous] = /^([^,]*),([1-9][0-9]{0,15}),([0-9a-f]{64})$/.exec(text) ?? [];
  if (!stream || !STREAM.test(stream) || !Number.isSafeInteger(Number(first))) {
    throw new Misuse(`--start ${text} is not STREAM,FIRST,PREVIOUS, as in record-0,256,709e…147c`);
  }
  return { stream, first: Number(first), previous: Buffer.from(previous, 'hex') };
}

function verifyDump({ from, keys, heads, start }) {
  const began = process.hrtime.bigint();
  const ledger = new Ledger(parseKeys(readFile(keys), keys), {
    heads: heads.map((path) => parseHeads(readFile(path), path)),
    starts: start.map(parseStart),
  });
  for (const event of readDump(fileChunks(from), from)) ledger.add(event);
  const findings = ledger.finish();
  return {
    ok: findings.length === 0,
    ledger: ledger.registry.id ?? null,
    events: ledger.events,
    streams: ledger.streams.size,
    signatures: ledger.check.signatures,
    anchors: ledger.anchors,
    heads_checked: ledger.headsChecked,
    heads_unchecked: ledger.headsUnchecked,
    findings,
    findings_total: findings.length + ledger.findingsOmitted,
    seconds: Number(process.hrtime.bigint() - began) / 1e9,
  };
}

function describe(result, headsGiven) {
  const out = result.findings.slice(0, SHOWN)
    .map(({ stream, revision, kind, detail }) => `${stream}, event ${revision}: ${kind}: ${detail}`);
  if (result.findings_total > SHOWN) out.push(`and ${result.findings_total - SHOWN} more; --json has them`);
  out.push(`ledger ${result.ledger ?? '(its first event is not there)'}: ${result.events} events in ${result.streams} streams, ` +
    `${result.signatures} signatures, ${result.anchors} anchors, ${result.heads_checked} heads checked, in ${result.seconds.toFixed(1)} s`);
  if (result.heads_unchecked > 0) out.push(`${result.heads_unchecked} heads could not be checked: the events they name are not there, or are damaged`);
  if (!headsGiven) out.push('no --heads given: an end cut off after the newest anchor would not be noticed');
  out.push(result.ok ? 'all is in order' : `found wrong: ${result.findings_total} ${result.findings_total === 1 ? 'finding' : 'findings'}`);
  return out.join('\n');
}

function describeVectors(results) {
  const out = [];
  for (const [part, list] of Object.entries(results)) {
    const disagreeing = list.filter(({ problem }) => problem !== undefined);
    for (const { name, problem } of disagreeing) out.push(`${part}: ${name}: ${problem}`);
    out.push(`${part}: ${list.length - disagreeing.length} of ${list.length} agree`);
  }
  return out.join('\n');
}

function run(args) {
  const options = readArguments(args);
  if (options.help) {
    process.stdout.write(HELP);
    return GOOD;
  }
  refuseContradictions(options);
  if (options.vectors !== undefined) {
    const results = runVectors(options.vectors);
    process.stdout.write(`${options.json ? JSON.stringify(results) : describeVectors(results)}\n`);
    return Object.values(results).flat().every(({ problem }) => problem === undefined) ? GOOD : WRONG;
  }
  const result = verifyDump(options);
  process.stdout.write(`${options.json ? JSON.stringify(result) : describe(result, options.heads.length > 0)}\n`);
  return result.ok ? GOOD : WRONG;
}

function main() {
  // A reader that has seen enough and closes the pipe does not change the verdict.
  process.stdout.on('error', (error) => {
    if (error.code !== 'EPIPE') process.exitCode = COULD_NOT_RUN;
  });
  try {
    process.exitCode = run(process.argv.slice(2));
  } catch (error) {
    // Node's own status for an exception is 1, which would read as a verdict.
    process.exitCode = COULD_NOT_RUN;
    const known = error instanceof Unreadable || error instanceof Misuse;
    process.stderr.write(`verify: ${known ? error.message : error.stack}\n`);
    if (error instanceof Misuse) process.stderr.write('node ops/verify.mjs --help says how it is used\n');
  }
}

main();
