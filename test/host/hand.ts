export * from './lib/hand.ts';
