import { type Answer, GithubApi, type SeenRequest } from './github-api.ts';

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

const repository = '/repos/someone/slideshow/issues';

/** The part of GitHub's API about issues. */
export class IssuesApi extends GithubApi {
  readonly issues: StoredIssue[] = [];
  readonly repository = 'someone/slideshow';

  static async open(): Promise<IssuesApi> {
    const api = new IssuesApi();
    await api.listen();
    return api;
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

  protected override answer({ method, path, query, body }: SeenRequest): Answer {
    const number = Number(path.slice(repository.length + 1));
    const found = this.issues.find((issue) => issue.number === number);
    if (method === 'GET' && path === repository) return { status: 200, body: this.#list(query) };
    if (!isWhole(body)) return { status: 422, body: { message: 'Validation Failed' } };
    if (method === 'POST' && path === repository) {
      return { status: 201, body: this.#shown(this.add({ ...body })) };
    }
    if (method === 'PATCH' && found !== undefined) {
      Object.assign(found, body);
      return { status: 200, body: this.#shown(found) };
    }
    return { status: 404, body: { message: 'Not Found' } };
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
}

/** Title and body, and nothing else. */
function isWhole(content: unknown): content is { readonly title: string; readonly body: string } {
  const { title, body, ...others } = (content ?? {}) as Readonly<Record<string, unknown>>;
  return (
    typeof title === 'string' &&
    title !== '' &&
    title.length <= 256 &&
    typeof body === 'string' &&
    body.length <= 65_536 &&
    Object.keys(others).length === 0
  );
}
