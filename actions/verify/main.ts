import { runAction } from '../../src/action/run.ts';
import { verifyWorker } from '../../src/action/verify-worker.ts';

void runAction('verify', verifyWorker);
