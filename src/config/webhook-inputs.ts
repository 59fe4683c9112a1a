import { choiceInput, input } from './input.ts';

/** Where to tell somebody at once, and when; of every action. */
export const webhookInputs = {
  webhook: input(
    {
      description:
        'URL of a Slack-compatible webhook, from a secret, that is notified how this step ended. If the message cannot be sent, there is only a warning.',
      fallback: '',
      secret: true,
    },
    'a URL with https:// (http:// only to the runner itself) and without user or password, or empty',
    (text): { readonly url: string | null } | null => {
      const url = text.trim();
      if (url === '') return { url: null };
      return isWebhook(url) ? { url } : null;
    },
  ),
  'webhook-when': choiceInput(
    {
      description:
        'When to send a message: `problems`: if this step failed, so that somebody has to look; or `always`.',
      fallback: 'problems',
    },
    ['problems', 'always'],
  ),
} as const;

const loopback = /^(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])$/;

function isWebhook(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  const isSafe = protocol === 'https:' || (protocol === 'http:' && loopback.test(hostname));
  return isSafe && username === '' && password === '';
}
