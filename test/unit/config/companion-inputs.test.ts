import { describe, expect, it } from 'vitest';
import { companionInputs } from '../../../src/config/companion-inputs.ts';

const read = <Name extends keyof typeof companionInputs>(name: Name, text: string) =>
  companionInputs[name].schema.safeParse(text).data;

describe('also-restart', () => {
  it('takes units, each with reload and a URL if wanted', () => {
    const text = 'shop-web reload http://127.0.0.1:8000/up,\n shop-beat.service\n';
    expect(read('also-restart', text)).toEqual([
      { unit: 'shop-web.service', how: 'reload', url: 'http://127.0.0.1:8000/up' },
      { unit: 'shop-beat.service', how: 'restart', url: null },
    ]);
    expect(read('also-restart', '')).toEqual([]);
  });

  it.each([
    ['two units without a comma', 'shop-web.service shop-beat.service'],
    ['the same unit twice', 'shop-web, shop-web.service'],
    ['an unknown word', 'shop-web.service kill'],
    ['a URL with a user', 'shop-web.service http://me@127.0.0.1/'],
    ['a port that does not exist', 'shop-web.service http://127.0.0.1:99999/'],
    ['only a comma', ','],
    ['a pattern', 'shop-*'],
  ])('refuses %s', (_, text) => {
    expect(read('also-restart', text)).toBeUndefined();
  });
});

describe('before-start', () => {
  it('takes commands, one per line, with quotes', () => {
    const text = `python manage.py migrate --noinput\n\nbin/seed 'two words' "a"b --name=x`;
    expect(read('before-start', text)).toEqual([
      ['python', 'manage.py', 'migrate', '--noinput'],
      ['bin/seed', 'two words', 'ab', '--name=x'],
    ]);
    expect(read('before-start', '')).toEqual([]);
  });

  it.each([
    'cd x && python manage.py migrate',
    'python manage.py migrate | tee log',
    'echo $HOME',
    'echo "$HOME"',
    'echo `id`',
    'rm *.pyc',
    "echo 'open",
    'python manage.py migrate; reboot',
    'python manage.py migrate > /tmp/log',
    '   ',
    'python \u0000 manage.py',
    'python \u001b[31m',
  ])('refuses what only a shell could run: %s', (text) => {
    expect(read('before-start', text)).toBeUndefined();
  });
});
