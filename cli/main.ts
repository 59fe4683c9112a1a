import '../src/cli/older-node.ts';
import { servesStore } from '../src/adapters/sqlite-process.ts';
import { runCommand } from '../src/cli/celeriac.ts';
import { exitCodes } from '../src/cli/exit-code.ts';
import { toolsOfProcess } from '../src/cli/this-process.ts';

// The process that opens a copy of a database is this program, too.
if (!servesStore()) {
  void runCommand(process.argv.slice(2), toolsOfProcess()).then((code) => {
    process.exitCode = code;
    // A login that was interrupted may still wait for its answer.
    if (code === exitCodes.interrupted) process.exit();
  });
}
