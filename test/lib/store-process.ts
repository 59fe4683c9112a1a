import { servesStore } from '../../src/adapters/sqlite-process.ts';

servesStore();
