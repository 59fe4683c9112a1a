import { userInfo } from 'node:os';
import { createInterface } from 'node:readline/promises';
import { openAgent } from '../adapters/agent/open-agent.ts';
import type { CommandTools } from './command.ts';
import type { Person } from './connection.ts';
import { showsColour } from './paint.ts';

/** The terminal, the user and Ctrl+C of this process. */
export function toolsOfProcess(): CommandTools {
  const interrupt = new AbortController();
  // Once: a second Ctrl+C ends the process immediately.
  process.once('SIGINT', () => interrupt.abort());
  // A closed pipe (`| head`) must not affect the work or the exit code.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  return {
    terminal: {
      out: (text) => void process.stdout.write(text),
      note: (line) => void process.stderr.write(`${line}\n`),
      colours: {
        out: showsColour(process.stdout, process.env),
        note: showsColour(process.stderr, process.env),
      },
      // Home, then everything below: without the flicker of an empty screen.
      ...(process.stdout.isTTY && {
        clear: () => void process.stdout.write('\u001b[H\u001b[2J\u001b[3J'),
      }),
      // The question is no result, so that stdout may go to a file.
      ...(process.stdin.isTTY &&
        process.stderr.isTTY && { ask: (question) => askPerson(question, interrupt) }),
    },
    interrupted: interrupt.signal,
    person: whoTypes(),
    openAgent,
  };
}

async function askPerson(question: string, interrupt: AbortController): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  // The reader takes Ctrl+C from the terminal; at the end of the input there is no answer.
  lines.once('SIGINT', () => interrupt.abort());
  const ended = new Promise<string>((resolve) => lines.once('close', () => resolve('')));
  try {
    const { signal } = interrupt;
    return await Promise.race([lines.question(question, { signal }), ended]);
  } finally {
    lines.close();
  }
}

function whoTypes(): Person {
  const uid = process.getuid?.() ?? -1;
  try {
    return { name: userInfo().username, uid };
  } catch {
    // In a container, a user may have no name.
    return { name: `user ${uid}`, uid };
  }
}
