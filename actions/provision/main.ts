import { runAction } from '../../src/action/run.ts';
import { provisionHost } from '../../src/use-case/provision-host.ts';

void runAction('provision', async (run) => {
  await provisionHost(run);
});
