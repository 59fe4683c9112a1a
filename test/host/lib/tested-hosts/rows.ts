import type { Suite } from '../../../../sandbox/edition.ts';
import type { User } from '../../../../sandbox/machine.ts';

/** How Celery is installed: Debian's packages, or a virtual environment that venv or uv has made. */
export type Installed = 'system' | 'venv' | 'uv';
export type BrokerKind = 'redis' | 'rabbitmq';
/** `slideshow`: the sandbox's own app; the others are in `examples/`. */
export type AppName = 'slideshow' | 'django' | 'fastapi' | 'flask';

/** A host that Celeriac is tried on. */
export interface Row {
  readonly suite: Suite;
  /** Of Celery; `system`: the one that Debian ships. */
  readonly celery: '4.4' | '5.2' | '5.5' | '5.6' | 'system';
  readonly installed: Installed;
  readonly broker: BrokerKind;
  /** deploy has passwordless sudo. */
  readonly login: Extract<User, 'root' | 'deploy'>;
  readonly app: AppName;
}

type Short = readonly [
  suite: Suite,
  celery: Row['celery'],
  installed: Installed,
  broker: BrokerKind,
  login: Row['login'],
  app?: AppName,
];

/**
 * Celery 4.4 needs Python 3.9 or older, 5.2 does not import on Debian 13 (Python 3.13), and Django 5.2
 * needs Python 3.10 or newer.
 */
const SHORT: readonly Short[] = [
  ['bullseye', '4.4', 'venv', 'redis', 'root'],
  ['bullseye', '4.4', 'venv', 'rabbitmq', 'deploy'],
  ['bullseye', 'system', 'system', 'redis', 'root'],
  ['bullseye', '5.2', 'uv', 'redis', 'deploy'],
  ['bullseye', '5.6', 'venv', 'rabbitmq', 'root'],
  ['bullseye', '5.6', 'venv', 'redis', 'deploy', 'flask'],
  ['bookworm', 'system', 'system', 'rabbitmq', 'root'],
  ['bookworm', '5.2', 'venv', 'rabbitmq', 'deploy'],
  ['bookworm', '5.5', 'uv', 'redis', 'deploy'],
  ['bookworm', '5.6', 'venv', 'rabbitmq', 'deploy'],
  ['bookworm', '5.6', 'uv', 'redis', 'root'],
  ['bookworm', '5.6', 'venv', 'redis', 'root', 'fastapi'],
  ['trixie', 'system', 'system', 'redis', 'deploy'],
  ['trixie', '5.5', 'venv', 'redis', 'root'],
  ['trixie', '5.5', 'uv', 'rabbitmq', 'root'],
  ['trixie', '5.6', 'uv', 'redis', 'deploy'],
  ['trixie', '5.6', 'venv', 'rabbitmq', 'root'],
  ['trixie', '5.6', 'venv', 'redis', 'root', 'django'],
];

export const ROWS: readonly Row[] = SHORT.map(
  ([suite, celery, installed, broker, login, app = 'slideshow']) => ({
    ...{ suite, celery, installed, broker, login, app },
  }),
);

/** Its words, in one line: also how it is selected. */
export const rowName = ({ suite, celery, installed, broker, login, app }: Row): string =>
  [suite, `celery-${celery}`, installed, broker, login, app].join(' ');

/** What is done on each host, in this order. */
export const STEPS = [
  'provision',
  'deploy',
  'no-op',
  'broken release',
  'roll-back',
  'clean-up',
  'verify',
] as const;
export type StepName = (typeof STEPS)[number];

/** The versions of a host, as it reports them itself. */
export interface Versions {
  readonly debian: string;
  readonly systemd: string;
  readonly python: string;
  readonly celery: string;
  readonly broker: string;
}

/** What came of a row; a failure ends it. */
export interface Tried {
  readonly versions: Versions;
  /** `ok`, or what was different and is right here; the steps after a failure are absent. */
  readonly steps: Readonly<Partial<Record<StepName, string>>>;
  readonly failed?: { readonly step: StepName; readonly why: string };
}
