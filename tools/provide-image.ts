import { provideImage } from '../sandbox/image.ts';

/** vitest calls this before the first test that starts a machine, so the image is built once. */
export default async function setup(): Promise<void> {
  await provideImage((line) => console.log(`sandbox: ${line}`));
}
