import { z } from 'zod';
import { parsePostgresUrl } from './postgres-url.ts';

/**
 * The policy of a host in hardened mode, `/etc/celeriac/policy.json`: what a key may ask the installed
 * agent for. Everything that it does not name is refused. docs/reference/policy.md explains it; the host reads it
 * with `host/celeriac_host/policy/document.py`, and fixtures hold both to the same answers.
 */
export const policyPath = '/etc/celeriac/policy.json';

const longest = { text: 4096, list: 100 } as const;

/** Absolute, without `.`, `..`, doubled or closing slashes. */
const path = z
  .string()
  .max(longest.text)
  .regex(/^(?:\/(?!\.{1,2}(?:\/|$))[^/\p{Cc}]+)+$/u);
const unit = z.string().regex(/^[A-Za-z0-9:_.\\-]+(?:@[A-Za-z0-9:_.\\-]+)?\.service$/);
const account = z.string().regex(/^[a-z_][a-z0-9_-]{0,31}$/);
const name = z.string().regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,199}$/);
const count = (largest: number) => z.int().min(1).max(largest);
const list = <Item extends z.ZodType>(item: Item) => z.array(item).max(longest.list);

const database = z
  .union([
    path,
    // A password, or an option that names a file with one, has no place here.
    z
      .string()
      .regex(/^postgres(?:ql)?:\/\/(?:[^/?#:@\s]*@)?[^/?#@\s]*\/[^/?#\s]+(?:\?[^?#@\s]*)?$/)
      .refine((url) => parsePostgresUrl(url) !== null),
  ])
  .meta({ description: 'The path of a SQLite file, or a postgresql:// URL without a password.' });

const signer = z.strictObject({
  name: z
    .string()
    .regex(/^[^\s"*?!,]{1,200}$/)
    .meta({ description: 'Whose key it is, for messages: an e-mail address, for example.' }),
  key: z
    .string()
    .max(longest.text)
    .regex(/^(?:ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|ssh-rsa) [A-Za-z0-9+/]+={0,2}$/)
    .meta({ description: 'The public SSH key: its type and its base64, without a comment.' }),
});

/** Its texts are the descriptions of the published JSON Schema. */
export const policyShape = z
  .strictObject({
    $schema: z.string().optional(),
    version: z.literal(1),
    access: z.enum(['change', 'read']).meta({
      description:
        'read: facts, dry runs, and verifications without a confirmation. change: everything that the rest of this policy allows.',
    }),
    readers: list(account).optional().meta({
      description: 'System users whose access is read, whatever `access` says.',
    }),
    units: z.array(unit).min(1).max(longest.list).meta({
      description: 'The units of the workers, by their exact names.',
    }),
    appUser: z
      .string()
      .regex(/^(?!root$)[a-z_][a-z0-9_-]{0,31}$/)
      .meta({ description: 'The user of these units. Never root.' }),
    companions: list(unit)
      .optional()
      .meta({ description: 'Units that may be restarted after a deploy (`also-restart`).' }),
    databases: list(database)
      .optional()
      .meta({ description: 'Databases with jobs that may be read, backed up and repaired.' }),
    checkout: path
      .nullable()
      .optional()
      .meta({ description: 'The top folder of the Git checkout that may be moved to a commit.' }),
    deployTo: path
      .nullable()
      .optional()
      .meta({ description: 'The folder below which uploaded code may be unpacked.' }),
    swap: z
      .strictObject({ path, largestBytes: count(2 ** 44) })
      .nullable()
      .optional()
      .meta({ description: 'The one swap file, and its largest size.' }),
    sysctl: z
      .record(
        z.string().regex(/^[a-z0-9_]+(?:\.[a-z0-9_-]+)+$/),
        z.tuple([z.int(), z.int()]).refine(([least, most]) => least <= most),
      )
      .optional()
      .meta({ description: 'Kernel settings, each with its smallest and largest value.' }),
    urls: list(z.string().regex(/^https?:\/\/[^\s/?#@\\]+\/[^\s?#\\]*$/))
      .optional()
      .meta({
        description:
          'URLs that may be requested from the host; a URL that ends with a slash includes all URLs below it.',
      }),
    tasks: list(name).optional().meta({
      description: 'Tasks of the app that may be sent by name. Without it: canaries only.',
    }),
    commands: list(z.array(z.string().min(1).max(longest.text)).min(1).max(longest.list))
      .optional()
      .meta({
        description:
          'Commands that `before-start`, and `checks` of verify, may run as the app, word for word.',
      }),
    writablePaths: list(path)
      .optional()
      .meta({ description: 'Paths that a deploy may add to `ReadWritePaths=` of a unit.' }),
    signers: z
      .strictObject({
        ssh: list(signer).optional(),
        gpgKeyring: path.optional(),
      })
      .refine(({ ssh = [], gpgKeyring }) => ssh.length > 0 || gpgKeyring !== undefined)
      .nullable()
      .optional()
      .meta({
        description:
          'Whose signature a commit needs before it is deployed. Without it, anyone who has the key of the pipeline can run code as the user of the app.',
      }),
    limits: z
      .strictObject({
        bytes: count(2 ** 40)
          .optional()
          .meta({
            description: 'Of an upload or a copy of a database. Default: 536870912.',
          }),
        seconds: count(7 * 86_400)
          .optional()
          .meta({
            description: 'Of a session, and of any time-out in it. Default: 14400.',
          }),
        requests: count(1_000_000).optional().meta({ description: 'Of a session. Default: 5000.' }),
        operations: count(10_000).optional().meta({ description: 'Of a plan. Default: 200.' }),
        changesPerHour: count(100_000).optional().meta({
          description: 'Plans, undos and probes, of all sessions of a user. Default: 120.',
        }),
      })
      .optional(),
  })
  .meta({
    title: "Celeriac's policy of a host in hardened mode",
    description: 'Everything that it does not name is refused.',
  });

export type Policy = z.infer<typeof policyShape>;

/** The JSON Schema that is published as docs/reference/policy.schema.json. */
export function policySchema(): Readonly<Record<string, unknown>> {
  return z.toJSONSchema(policyShape) as Record<string, unknown>;
}
