import { provideImage } from '../sandbox/image.ts';

/** vitest calls this before the first test that boots a machine: the image is built only once. */
export default async function setup(): Promise<void> {
  await provideImage((line) => console.log(`sandbox: ${line}`));
}
