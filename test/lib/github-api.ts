import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

/** One request as it arrived. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly body: unknown;
}

const token = 'ghs_of-this-run';

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** A part of GitHub's API, on loopback. It refuses whom GitHub refuses. */
export abstract class GithubApi implements AsyncDisposable {
  readonly requests: SeenRequest[] = [];
  readonly token = token;
  /** What it answers to everything instead. */
  failure: { readonly status: number; readonly message: string } | null = null;
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        send(response, { status: 500, body: { message: String(error) } });
      });
    });
  }

  protected async listen(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.listen(0, '127.0.0.1', resolve);
    });
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  protected abstract answer(request: SeenRequest): Answer;

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', this.url);
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const text = Buffer.concat(pieces).toString('utf8');
    const { method = '' } = request;
    const body: unknown = text === '' ? null : JSON.parse(text);
    const seen = { method, path: url.pathname, query: Object.fromEntries(url.searchParams), body };
    this.requests.push(seen);
    const refusal = this.failure ?? refuse(request);
    send(
      response,
      refusal === null
        ? this.answer(seen)
        : { status: refusal.status, body: { message: refusal.message } },
    );
  }
}

function refuse({
  headers,
  method,
}: IncomingMessage): { readonly status: number; readonly message: string } | null {
  if (headers.authorization !== `token ${token}`)
    return { status: 401, message: 'Bad credentials' };
  if (headers['user-agent'] === undefined) return { status: 403, message: 'no user agent' };
  if (!/json/.test(headers.accept ?? '')) return { status: 415, message: 'Unsupported Media Type' };
  const isJson = /^application\/json/.test(headers['content-type'] ?? '');
  return method === 'GET' || isJson ? null : { status: 400, message: 'Problems parsing JSON' };
}

function send(response: ServerResponse, { status, body }: Answer): void {
  // On a busy machine, a client may use a connection that was about to be closed.
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    connection: 'close',
  });
  response.end(JSON.stringify(body));
}
