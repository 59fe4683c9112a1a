import { hostInputs } from './host-inputs.ts';
import { absolutePath, integerInput, patternInput, sizeInput } from './input.ts';

/** A file on a disk: what is below these folders is in memory, or is no file. */
const swapPath: Pick<RegExp, 'test'> = {
  test: (text) => absolutePath.test(text) && !/^\/(?:proc|sys|dev|run|var\/run)(?:\/|$)/.test(text),
};

export const provisionInputs = {
  ...hostInputs,
  'swap-size': sizeInput({ description: 'Size of the swap file.', fallback: '2G' }),
  'swap-path': patternInput(
    { description: 'Path of the swap file.', fallback: '/swapfile' },
    'the absolute path of a file on a disk, such as /swapfile (letters, digits and . _ @ : + - only, no `..`; not below /proc, /sys, /dev or /run)',
    swapPath,
  ),
  swappiness: integerInput(
    { description: 'Value of vm.swappiness, set now and kept after a reboot.', fallback: '10' },
    { min: 0, max: 200 },
  ),
} as const;
