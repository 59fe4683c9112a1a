import { runAction } from '../../src/action/run.ts';
import { servesStore } from '../../src/adapters/sqlite-process.ts';
import { deployWorker } from '../../src/use-case/deploy-worker.ts';
import { rollBack } from '../../src/use-case/roll-back.ts';

// The process that opens a copy of a database is this program, too.
if (!servesStore())
  void runAction('deploy-worker', async (run) => {
    if (run.inputs['roll-back'] === '') {
      await deployWorker(run);
      return;
    }
    await using agent = await run.openAgent();
    await rollBack(run, agent);
  });
