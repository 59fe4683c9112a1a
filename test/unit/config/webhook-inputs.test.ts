import { expect, it } from 'vitest';
import { actions } from '../../../src/config/action-inputs.ts';
import { pipelineInputs, pipelineSteps } from '../../../src/config/pipeline-manifest.ts';
import { readInputs } from '../../../src/config/read-inputs.ts';
import { webhookInputs } from '../../../src/config/webhook-inputs.ts';

const read = (webhook: string) =>
  readInputs(webhookInputs, (name) => (name === 'webhook' ? webhook : ''), new Map()).webhook.url;

it.each([
  'https://hooks.example.com/services/T0/B0/x',
  'https://127.0.0.1/x',
  'http://localhost:8000/x',
  'http://127.0.0.1/x',
  'http://[::1]:8000/x',
])('accepts %s', (url) => {
  expect(read(` ${url}\n`)).toBe(url);
});

it.each([
  'http://hooks.example.com/x',
  'http://127.0.0.1.example.com/x',
  'http://localhost.example.com/x',
  'https://user:password@hooks.example.com/x',
  'ftp://127.0.0.1/x',
  'hooks.example.com/x',
  'https://',
])('refuses %s, without showing it', (url) => {
  expect(() => read(url)).toThrow(/^invalid `webhook`$/);
});

it('is a secret of every action, and of each step of the pipeline', () => {
  for (const inputs of Object.values(actions)) expect(inputs).toMatchObject(webhookInputs);
  expect(webhookInputs.webhook.secret).toBe(true);
  expect(pipelineInputs).toHaveProperty('webhook');
  const steps = pipelineSteps.filter((step) => 'webhook' in step.with);
  expect(steps.map(({ id }) => id)).toEqual(['inputs', 'swap', 'worker', 'jobs', 'gate', 'back']);
});
