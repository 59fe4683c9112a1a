import type { Seconds } from './units.ts';

/** A check that the user has written: a command of the app, or a URL, and the answer it must give. */
export type OwnCheck = {
  readonly name: string;
  readonly timeoutSeconds: Seconds;
  /** Text that the answer must contain; `null`: any answer. */
  readonly contains: string | null;
} & (
  | {
      readonly kind: 'command';
      readonly argv: readonly string[];
      readonly exitCode: number;
    }
  | {
      readonly kind: 'url';
      readonly url: string;
      /** `null`: any of 200 to 299. */
      readonly status: number | null;
    }
);

export type OwnCommand = Extract<OwnCheck, { kind: 'command' }>;
export type OwnUrl = Extract<OwnCheck, { kind: 'url' }>;
