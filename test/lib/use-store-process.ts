import { join } from 'node:path';
import { storeProgram } from '../../src/adapters/sqlite-store.ts';

// Tests run in a program of Vitest, which serves no stores.
storeProgram.path = join(import.meta.dirname, 'store-process.ts');
