#!/usr/bin/env node
import { runCommand } from '../src/cli/celeriac.ts';

const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());

const terminal = {
  out: (text: string) => process.stdout.write(text),
  note: (line: string) => process.stderr.write(`${line}\n`),
};

void runCommand(process.argv.slice(2), terminal, interrupted.signal).then((code) => {
  process.exitCode = code;
});
