import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

export interface StoredIssue {
  readonly number: number;
  title: string;
  body: string;
  readonly state: 'open' | 'closed';
  readonly createdAt: number;
  readonly updatedAt: number;
  /** A pull request is listed among the issues. */
  readonly isChange: boolean;
}

/** One request as it arrived. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly body: unknown;
}

const repository = '/repos/someone/slideshow/issues';
const token = 'ghs_of-this-run';

/** The part of GitHub's API about issues, on loopback. It refuses what GitHub refuses. */
export class IssuesApi implements AsyncDisposable {
  readonly issues: StoredIssue[] = [];
  readonly requests: SeenRequest[] = [];
  readonly token = token;
  readonly repository = 'someone/slideshow';
  /** What it answers to everything instead. */
  failure: { readonly status: number; readonly message: string } | null = null;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        this.#answer(response, 500, { message: String(error) });
      });
    });
  }

  static async open(): Promise<IssuesApi> {
    const api = new IssuesApi();
    await new Promise<void>((resolve) => {
      api.#server.listen(0, '127.0.0.1', resolve);
    });
    return api;
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

  add(issue: Partial<StoredIssue> = {}): StoredIssue {
    const now = Date.now() / 1000;
    const added: StoredIssue = {
      number: this.issues.length + 1,
      title: 'Another',
      body: 'Something else.',
      state: 'open',
      createdAt: now,
      updatedAt: now,
      isChange: false,
      ...issue,
    };
    this.issues.push(added);
    return added;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', this.url);
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const text = Buffer.concat(pieces).toString('utf8');
    const { method = '' } = request;
    const body: unknown = text === '' ? null : JSON.parse(text);
    const query = Object.fromEntries(url.searchParams);
    this.requests.push({ method, path: url.pathname, query, body });
    const refusal = this.failure ?? refuse(request, method, body);
    if (refusal !== null) {
      this.#answer(response, refusal.status, { message: refusal.message });
      return;
    }
    this.#route({ method, path: url.pathname, query, body }, response);
  }

  #route({ method, path, query, body }: SeenRequest, response: ServerResponse): void {
    const number = Number(path.slice(repository.length + 1));
    const found = this.issues.find((issue) => issue.number === number);
    const content = body as { readonly title: string; readonly body: string };
    if (method === 'GET' && path === repository) {
      this.#answer(response, 200, this.#list(query));
    } else if (method === 'POST' && path === repository) {
      this.#answer(response, 201, this.#shown(this.add({ ...content })));
    } else if (method === 'PATCH' && found !== undefined) {
      Object.assign(found, content);
      this.#answer(response, 200, this.#shown(found));
    } else {
      this.#answer(response, 404, { message: 'Not Found' });
    }
  }

  #list(query: Readonly<Record<string, string>>): readonly object[] {
    const size = Number(query.per_page ?? 30);
    const from = (Number(query.page ?? 1) - 1) * size;
    const since = query.since === undefined ? 0 : Date.parse(query.since) / 1000;
    return this.issues
      .filter(
        ({ state, updatedAt }) => (query.state === 'all' || state === 'open') && updatedAt >= since,
      )
      .toSorted((a, b) => (query.direction === 'asc' ? 1 : -1) * (a.createdAt - b.createdAt))
      .slice(from, from + size)
      .map((issue) => this.#shown(issue));
  }

  #shown({ number, title, body, state, isChange }: StoredIssue): object {
    const html_url = `https://forge.test/someone/slideshow/issues/${number}`;
    return { number, title, body, state, html_url, ...(isChange && { pull_request: {} }) };
  }

  #answer(response: ServerResponse, status: number, body: unknown): void {
    response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' });
    response.end(JSON.stringify(body));
  }
}

function refuse(
  { headers }: IncomingMessage,
  method: string,
  body: unknown,
): { readonly status: number; readonly message: string } | null {
  if (headers.authorization !== `token ${token}`)
    return { status: 401, message: 'Bad credentials' };
  if (headers['user-agent'] === undefined) return { status: 403, message: 'no user agent' };
  if (!/json/.test(headers.accept ?? '')) return { status: 415, message: 'Unsupported Media Type' };
  if (method === 'GET') return null;
  if (!/^application\/json/.test(headers['content-type'] ?? '')) {
    return { status: 400, message: 'Problems parsing JSON' };
  }
  const { title, body: text, ...others } = (body ?? {}) as Readonly<Record<string, unknown>>;
  const isWhole =
    typeof title === 'string' &&
    title !== '' &&
    title.length <= 256 &&
    typeof text === 'string' &&
    text.length <= 65_536 &&
    Object.keys(others).length === 0;
  return isWhole ? null : { status: 422, message: 'Validation Failed' };
}
