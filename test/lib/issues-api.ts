import { itself } from './comments-api.ts';
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
  /** As GraphQL names an author; an app is without `[bot]`. */
  readonly author: { readonly __typename: 'User' | 'Bot'; readonly login: string } | null;
}

const repository = '/repos/someone/slideshow/issues';

/** The part of GitHub's API about issues. */
export class IssuesApi extends GithubApi {
  readonly issues: StoredIssue[] = [];
  readonly repository = 'someone/slideshow';
  /** What GraphQL answers instead. */
  refusal: object | null = null;

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
      author: itself,
      ...issue,
    };
    this.issues.push(added);
    return added;
  }

  protected override answer({ method, path, body }: SeenRequest): Answer {
    const number = Number(path.slice(repository.length + 1));
    const found = this.issues.find((issue) => issue.number === number);
    if (method === 'POST' && path === '/graphql') return this.#list(body as GraphqlRequest);
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

  #list({ query, variables }: GraphqlRequest): Answer {
    if (this.refusal !== null) return { status: 200, body: this.refusal };
    const { owner, repo, since, first, after } = variables;
    const isHere = `${owner}/${repo}` === this.repository;
    const listed = this.issues
      .filter(({ updatedAt, isChange }) => !isChange && updatedAt >= Date.parse(since) / 1000)
      .toSorted(
        (a, b) => (query.includes('direction: ASC') ? 1 : -1) * (a.createdAt - b.createdAt),
      );
    const from = Number(after ?? 0);
    const issues = {
      nodes: listed.slice(from, from + first).map(({ number, title, body, author }) => ({
        number,
        url: urlOf(number),
        title,
        body,
        viewerDidAuthor: author === itself,
        author,
      })),
      pageInfo: { hasNextPage: from + first < listed.length, endCursor: String(from + first) },
    };
    const data = {
      viewer: { login: 'github-actions[bot]' },
      repository: isHere ? { issues } : null,
    };
    return { status: 200, body: { data } };
  }

  #shown({ number, title, body, state }: StoredIssue): object {
    return { number, title, body, state, html_url: urlOf(number) };
  }
}

interface GraphqlRequest {
  readonly query: string;
  readonly variables: {
    readonly owner: string;
    readonly repo: string;
    readonly since: string;
    readonly first: number;
    readonly after: string | null;
  };
}

const urlOf = (number: number): string => `https://forge.test/someone/slideshow/issues/${number}`;

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
