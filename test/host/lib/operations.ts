import { bytes, MiB } from '../../../src/model/units.ts';
import { type PlainOperation, sha256 } from './hand.ts';

/** A swap file on ext4. */
export const makeSwap = (path: string, sizeMebibytes = 16): PlainOperation => ({
  op: 'make-swap',
  path,
  sizeBytes: bytes(sizeMebibytes * MiB),
  filesystem: 'ext4',
  fill: 'allocate',
  nocow: false,
});

/** `before`: the text that is there; `null`: no file. */
export const installUnit = (
  unit: string,
  path: string,
  text: string,
  before: string | null,
): PlainOperation => ({
  op: 'install-unit',
  unit,
  path,
  text,
  expects: before === null ? null : sha256(before),
});
