import path from 'node:path';
import { bundleActions, writeBundles } from './bundle.ts';

const root = path.join(import.meta.dirname, '..');
const files = await bundleActions(root);
writeBundles(root, files);
for (const file of files) {
  console.log(`${file.path}  ${(file.content.length / 1024).toFixed(0)} KiB`);
}
