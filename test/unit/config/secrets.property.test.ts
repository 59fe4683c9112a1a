import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ActionName, actions } from '../../../src/config/action-inputs.ts';
import { parseFleetFile } from '../../../src/config/fleet-file.ts';
import type { Inputs } from '../../../src/config/input.ts';
import { parsePostgresUrl } from '../../../src/config/postgres-url.ts';
import { locateError, readInputs } from '../../../src/config/read-inputs.ts';
import { parseStores } from '../../../src/config/stores-input.ts';
import { renderFailure } from '../../../src/report/failure.ts';
import { redact } from '../../../src/systemd/secrets.ts';

const marks = [...'/?@:#%&=+,;!*{}[]"\'`|<>$~^\\.-_ '];
const letters = [...'QXZ73kq'];
/** Passwords that resemble nothing in a message, with whatever breaks URLs, YAML and quotes. */
const passwords = fc
  .array(fc.constantFrom(...letters, ...letters, ...letters, ...marks), {
    minLength: 12,
    maxLength: 40,
  })
  .map((signs) => `Q7${signs.join('')}7Z`);

/** Ways in which a password ends up in the name of a database. */
const urls: readonly ((password: string) => string)[] = [
  (secret) => `postgresql://app:${secret}@127.0.0.1:5432/jobs`,
  (secret) => `postgres://app:${encodeURIComponent(secret)}@db.test/jobs`,
  (secret) => `postgresql://app%3A${encodeURIComponent(secret)}@db.test/jobs`,
  (secret) => `postgresql://${encodeURIComponent(`a:${secret}`)}@db.test/jobs`,
  (secret) => `postgresql://127.0.0.1/jobs?password=${secret}`,
  (secret) => `postgresql://127.0.0.1/jobs?sslpassword=${encodeURIComponent(secret)}`,
  (secret) => `postgresql://127.0.0.1/jobs?p%61ssword=${secret}`,
  (secret) => `postgresql://127.0.0.1/jobs?PASSWORD=${secret}`,
  (secret) => `postgresql://127.0.0.1/jobs?options=-c%20x%3D${encodeURIComponent(secret)}`,
  (secret) => `postgresql://127.0.0.1:${secret}/jobs`,
  (secret) => `postgresql://h:5432/db?a@${secret}`,
  (secret) => `postgresql+psycopg2://app:${secret}@127.0.0.1/jobs`,
  (secret) => `redis://:${secret}@127.0.0.1`,
  (secret) => `https://ann:${secret}@a.test:99999/`,
];

/** Every run of six characters: a part of a password is a secret, too. */
function partsOf(secret: string): readonly string[] {
  const parts = (text: string) =>
    Array.from({ length: Math.max(text.length - 5, 0) }, (_, at) => text.slice(at, at + 6));
  return [...parts(secret), ...parts(encodeURIComponent(secret))].filter((part) =>
    /[QXZ73kq].*[QXZ73kq].*[QXZ73kq]/s.test(part),
  );
}

function expectHidden(error: unknown, secret: string): void {
  const { message, annotation } = renderFailure(error, { action: 'cleanup' });
  const text = `${message}\n${annotation.title}\n${annotation.message}`;
  for (const part of partsOf(secret)) expect(text).not.toContain(part);
}

const needed = { host: 'vps.test', 'ssh-key': 'KEY', 'known-hosts': 'vps.test ssh-ed25519 AAAA' };

function errorOf(body: () => unknown): unknown {
  try {
    body();
    return null;
  } catch (error) {
    return error;
  }
}

const names = Object.keys(actions) as ActionName[];

describe('a password', () => {
  it.each(names)('in any input of %s appears in no message', (action) => {
    const set: Inputs = actions[action];
    const inputs = fc.constantFrom(...Object.keys(set));
    fc.assert(
      fc.property(inputs, fc.constantFrom(...urls), passwords, (name, form, secret) => {
        const all: Readonly<Record<string, string>> = { ...needed, [name]: form(secret) };
        const given = (each: string) => all[each] ?? '';
        const error = errorOf(() => readInputs(set, given, new Map()));
        if (error !== null) expectHidden(error, secret);
      }),
      { numRuns: 400 },
    );
  });

  it.each(names)('in the fleet file, quoted or not, appears in no message of %s', (action) => {
    const set: Inputs = actions[action];
    const inputs = fc.constantFrom(...Object.keys(set).filter((name) => !set[name]?.secret));
    const quotes = fc.constantFrom(
      (text: string) => text,
      (text: string) => `"${text}"`,
      (text: string) => `'${text}'`,
      (text: string) => `{ url: ${text} }`,
      (text: string) => `{ ${text} }`,
      (text: string) => `[${text}]`,
    );
    fc.assert(
      fc.property(
        inputs,
        fc.constantFrom(...urls),
        quotes,
        passwords,
        (name, form, quote, secret) => {
          const text = `${name === 'host' ? '' : 'host: vps.test\n'}${name}: ${quote(form(secret))}\n`;
          const login: Readonly<Record<string, string>> = { 'ssh-key': 'K', 'known-hosts': 'x' };
          const given = (each: string) => login[each] ?? '';
          const error = errorOf(() => {
            const fleet = parseFleetFile('.github/fleet.yml', text, action);
            const failed = errorOf(() => readInputs(set, given, fleet));
            if (failed !== null) throw locateError(failed, given, fleet);
          });
          if (error !== null) expectHidden(error, secret);
        },
      ),
      { numRuns: 400 },
    );
  });

  it('in `stores` appears in no message', () => {
    const places = fc.constantFrom(
      (text: string) => `- database: ${text}`,
      (text: string) => `- database: "${text}"`,
      (text: string) => `- { database: ${text}, tables: {} }`,
      (text: string) => `database: ${text}`,
      (text: string) => `- ${text}`,
      (text: string) => `- database: /srv/a.db\n  tables:\n    jobs: { id: ${text} }`,
      (text: string) => `- database: /srv/a.db\n  tables:\n    jobs: { ${text} }`,
      (text: string) => `- database: /srv/a.db\n  tables: { jobs: { words: { ${text} } } }`,
      (text: string) => `- database: *${text}`,
      (text: string) => `- database: !${text} x`,
      (text: string) => `- database: |${text}\n    x`,
    );
    fc.assert(
      fc.property(places, fc.constantFrom(...urls, String), passwords, (place, form, secret) => {
        const error = errorOf(() => parseStores(place(form(secret))));
        if (error !== null) expectHidden(error, secret);
      }),
      { numRuns: 2000 },
    );
  });

  it('makes the URL of a database invalid, wherever it stands', () => {
    fc.assert(
      fc.property(fc.constantFrom(...urls), passwords, (form, secret) => {
        expect(parsePostgresUrl(form(secret))).toBeNull();
      }),
      { numRuns: 2000 },
    );
  });

  it('in a URL of a unit is redacted up to the last @', () => {
    const words = passwords.map((secret) => secret.replaceAll(/\s/g, ''));
    fc.assert(
      fc.property(words, (secret) => {
        const text = redact(`Environment=BROKER=redis://app:${secret}@127.0.0.1/0`);
        for (const part of partsOf(secret)) expect(text).not.toContain(part);
      }),
    );
  });
});

describe('the URL of a database', () => {
  it.each([
    ['postgresql://app@127.0.0.1:5432/jobs'],
    ['postgres:///jobs?host=/run/postgresql'],
    ['postgresql://app@[::1]/jobs?sslmode=verify-full&sslrootcert=/etc/ca.pem'],
    ['postgresql://app%40corp@db.test/jobs?options=-csearch_path%3Dapp,public'],
  ])('%s is valid', (text) => {
    expect(parsePostgresUrl(text)).not.toBeNull();
  });

  it.each([
    ['postgresql://app@db.test/jobs?passfile=/etc/pass'],
    ['postgresql://app@db.test/jobs?service=jobs'],
    ['postgresql://app@db.test/jobs?sslmode=a&sslmode=b'],
    ['postgresql://app@db.test/jobs?hostx=1'],
    ['postgresql://app@db.test/jo bs'],
    ['postgresql://a@b@db.test/jobs'],
  ])('%s is not', (text) => {
    expect(parsePostgresUrl(text)).toBeNull();
  });
});
