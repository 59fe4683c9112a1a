import type { Seconds } from '../model/units.ts';

/**
 * Posts JSON to a webhook, once.
 *
 * The address is a secret: it is neither followed elsewhere nor part of what this returns.
 *
 * @returns why it was not delivered; `null`: it was
 */
export async function postWebhook(
  url: string,
  message: { readonly text: string },
  timeout: Seconds,
): Promise<string | null> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': 'celeriac' },
      body: JSON.stringify(message),
      redirect: 'manual',
      signal: AbortSignal.timeout(timeout * 1000),
    });
    await response.body?.cancel();
    return response.ok ? null : `it answered with status ${response.status}`;
  } catch (error) {
    return describe(error, timeout);
  }
}

/** Messages of errors may name the address; their codes do not. */
function describe(error: unknown, timeout: Seconds): string {
  if (error instanceof Error && error.name === 'TimeoutError') {
    return `it did not answer within ${timeout} s`;
  }
  const { cause } = error as { readonly cause?: { readonly code?: unknown } };
  const code = typeof cause?.code === 'string' ? ` (${cause.code})` : '';
  return `it could not be reached${code}`;
}
