import path from 'node:path';
import { bundlePrograms, writeBundles } from './bundle.ts';

const root = path.join(import.meta.dirname, '..');

try {
  const files = await bundlePrograms(root);
  writeBundles(root, files);
  for (const file of files) {
    console.log(`${file.path}  ${(file.content.length / 1024).toFixed(0)} KiB`);
  }
} catch (error) {
  console.error(`build: ${(error as Error).message}`);
  process.exitCode = 1;
}
