import { runAction } from '../../src/action/run.ts';
import { servesStore } from '../../src/adapters/sqlite-process.ts';
import { verifyWorker } from '../../src/use-case/verify-worker.ts';

// The process that opens a copy of a database is this program, too.
if (!servesStore()) void runAction('verify', verifyWorker);
