import { describe, expect, test } from 'vitest';
import { hideSecrets } from '../../../src/report/hide-secrets.ts';
import { sampleReport } from '../../lib/sample-report.ts';

test('a report without secrets stays as it is', () => {
  expect(hideSecrets(sampleReport(), [])).toEqual(sampleReport());
});

test('a given secret is in no text, wherever it is', () => {
  const key =
    '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAAkeyline1\nBBBBkeyline2\n-----END OPENSSH PRIVATE KEY-----\n';
  const told = {
    one: ['x AAAAkeyline1 y', { two: `a ${key} b`, n: 3, no: null }],
    hunter22: 'hunter22!',
  };
  const text = JSON.stringify(hideSecrets(told, [key, 'hunter22']));
  expect(text).not.toMatch(/keyline|hunter22/);
  expect(hideSecrets(told, [key, 'hunter22'])).toMatchObject({
    one: ['x *** y', { n: 3, no: null }],
  });
});

test('the line that every key begins with is no secret', () => {
  const line = 'found -----BEGIN RSA PRIVATE KEY----- in a file';
  expect(hideSecrets(line, ['-----BEGIN RSA PRIVATE KEY-----\nabcdefgh'])).toBe(line);
});

test('a secret of two characters does not take words apart', () => {
  expect(hideSecrets('an answer', ['an'])).toBe('an answer');
});

describe('what looks like a secret is hidden in any text', () => {
  test.each([
    ['cannot connect to redis://:hunter2@10.0.0.1:6379/0', 'hunter2'],
    ['postgresql://app:hun@ter2@db/app failed', 'hun@ter2'],
    ['ANTHROPIC_API_KEY=sk-ant-hunter2 not accepted', 'sk-ant-hunter2'],
    ["headers: {'Authorization': 'Bearer hunter2', 'x': 'y'}", 'hunter2'],
    ['Authorization: Basic aHVudGVyMg==', 'aHVudGVyMg'],
    ['{"password": "hunter2", "user": "app"}', 'hunter2'],
    ["kwargs={'api_key': 'hunter2'}", 'hunter2'],
    ['GET /v1?token=hunter2 429', 'hunter2'],
    ['Set-Cookie: session=hunter2; Path=/', 'hunter2'],
  ])('%s', (text, secret) => {
    const hidden = hideSecrets({ evidence: [text] }, []);
    expect(JSON.stringify(hidden)).not.toContain(secret);
    expect(hidden.evidence[0]).toContain('***');
  });

  test.each([
    'https://github.com/example/app/actions/runs/4711',
    'HTTP 429: 17 in 2114 lines',
    '-ExecStart=/usr/bin/celery -A celery_app worker --concurrency=5',
    'tokens: 41 of 100',
    'Task tasks.process[3f2c9e1b] raised unexpected: KeyError("slides")',
  ])('others stay: %s', (text) => {
    expect(hideSecrets(text, [])).toBe(text);
  });
});
