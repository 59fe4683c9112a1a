import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { postWebhook } from '../../../src/adapters/webhook.ts';
import { seconds } from '../../../src/model/units.ts';

type Respond = (request: IncomingMessage, response: ServerResponse) => void;

/** A server on loopback that keeps what it was told. */
class Receiver implements AsyncDisposable {
  readonly bodies: string[] = [];
  readonly #server;

  private constructor(respond: Respond) {
    this.#server = createServer((request, response) => {
      let text = '';
      request.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      request.on('end', () => {
        this.bodies.push(`${request.method} ${request.headers['content-type']} ${text}`);
        respond(request, response);
      });
    });
  }

  static async open(respond: Respond): Promise<Receiver> {
    const receiver = new Receiver(respond);
    await new Promise<void>((resolve) => receiver.#server.listen(0, '127.0.0.1', resolve));
    return receiver;
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}/T0/secret`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }
}

const answering =
  (status: number, headers: Record<string, string> = {}): Respond =>
  (_, response) => {
    response.writeHead(status, headers);
    response.end('no');
  };

let elsewhere: Receiver;
beforeEach(async () => {
  elsewhere = await Receiver.open(answering(200));
});
afterEach(() => elsewhere[Symbol.asyncDispose]());

/** More than any test takes. */
const long = seconds(300);

it('posts the text as JSON, once', async () => {
  await using receiver = await Receiver.open(answering(200));
  expect(await postWebhook(receiver.url, { text: 'Nöt well: "x"' }, long)).toBeNull();
  expect(receiver.bodies).toEqual(['POST application/json {"text":"Nöt well: \\"x\\""}']);
});

it.each([404, 500, 301, 302, 303, 307, 308])(
  'says that it was answered with %s, follows it nowhere, and does not try again',
  async (status) => {
    await using receiver = await Receiver.open(answering(status, { location: elsewhere.url }));
    const problem = await postWebhook(receiver.url, { text: 'x' }, long);
    expect(problem).toBe(`it answered with status ${status}`);
    expect([receiver.bodies.length, elsewhere.bodies]).toEqual([1, []]);
  },
);

it('ends when nobody answers', async () => {
  await using receiver = await Receiver.open(() => {});
  const problem = await postWebhook(receiver.url, { text: 'x' }, seconds(0.05));
  expect(problem).toBe('it did not answer within 0.05 s');
});

it('says what failed without the address', async () => {
  const { url } = elsewhere;
  await elsewhere[Symbol.asyncDispose]();
  const problem = await postWebhook(url, { text: 'x' }, long);
  expect(problem).toBe('it could not be reached (ECONNREFUSED)');
  expect(await postWebhook('https://secret.invalid:99999', { text: 'x' }, long)).toBe(
    'it could not be reached (ERR_INVALID_URL)',
  );
});
