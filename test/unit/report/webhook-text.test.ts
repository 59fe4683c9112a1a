import { expect, it } from 'vitest';
import { webhookText } from '../../../src/report/webhook-text.ts';

const news = {
  action: 'verify',
  host: 'vps.example.com',
  unit: 'celery-worker.service',
  sentence: 'Not healthy: 1 check failed, 11 passed.',
  run: 'https://forge.test/someone/slideshow/actions/runs/4711',
};

it('says what ended how, and where to read more', () => {
  expect(webhookText(news)).toBe(
    'Celeriac: verify of celery-worker.service on vps.example.com: Not healthy: 1 check failed, 11 passed.\nhttps://forge.test/someone/slideshow/actions/runs/4711',
  );
  expect(webhookText({ ...news, unit: '', host: '' })).toMatch(/^Celeriac: verify: Not healthy/);
});

it('calls nobody and links to nothing, whatever a host says', () => {
  const sentence = '<!channel> @all <https://e.test|the run>\u001b[31m\nCeleriac: all is well';
  const text = webhookText({ ...news, sentence });
  expect(text).not.toMatch(/<|>|@all/);
  expect(text.split('\n')).toHaveLength(2);
  expect(text).toContain('&lt;!channel&gt;');
});

it('is short', () => {
  expect(webhookText({ ...news, sentence: 'x'.repeat(100_000) }).length).toBeLessThan(2000);
});
