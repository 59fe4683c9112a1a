import { type Answer, GithubApi, type SeenRequest } from './github-api.ts';

export interface StoredComment {
  readonly id: number;
  body: string;
  /** As GraphQL names an author; an app is without `[bot]`. */
  readonly author: { readonly __typename: 'User' | 'Bot'; readonly login: string } | null;
}

/** Of a workflow's own token. */
export const itself = { __typename: 'Bot', login: 'github-actions' } as const;

const issue = '/repos/someone/slideshow/issues';

/** The part of GitHub's API about the comments of pull request 7. */
export class CommentsApi extends GithubApi {
  readonly comments: StoredComment[] = [];
  /** Whether it says which comments are the token's own, beside their authors. */
  tellsOwn = true;

  static async open(): Promise<CommentsApi> {
    const api = new CommentsApi();
    await api.listen();
    return api;
  }

  add(body: string, author: StoredComment['author']): StoredComment {
    const added = { id: 1000 + this.comments.length, body, author };
    this.comments.push(added);
    return added;
  }

  protected override answer({ method, path, body }: SeenRequest): Answer {
    if (method === 'POST' && path === '/graphql') return this.#list(body as GraphqlRequest);
    const { body: text, ...others } = (body ?? {}) as Readonly<Record<string, unknown>>;
    const isWhole =
      typeof text === 'string' && text.length <= 65_536 && Object.keys(others).length === 0;
    if (!isWhole) return { status: 422, body: { message: 'Validation Failed' } };
    if (method === 'POST' && path === `${issue}/7/comments`) {
      return { status: 201, body: shown(this.add(text, itself)) };
    }
    const found = this.comments.find(({ id }) => path === `${issue}/comments/${id}`);
    if (method === 'PATCH' && found !== undefined) {
      found.body = text;
      return { status: 200, body: shown(found) };
    }
    return { status: 404, body: { message: 'Not Found' } };
  }

  #list({ variables }: GraphqlRequest): Answer {
    const { owner, repo, number, first, after } = variables;
    const isHere = owner === 'someone' && repo === 'slideshow' && number === 7;
    const from = after === null ? 0 : Number(after);
    const end = Math.min(from + first, this.comments.length);
    const comments = {
      nodes: this.comments.slice(from, end).map(({ id, body, author }) => ({
        databaseId: id,
        url: urlOf(id),
        body,
        viewerDidAuthor: this.tellsOwn && author === itself,
        author,
      })),
      pageInfo: { hasNextPage: end < this.comments.length, endCursor: String(end) },
    };
    const data = {
      viewer: { login: 'github-actions[bot]' },
      repository: { pullRequest: isHere ? { comments } : null },
    };
    return { status: 200, body: { data } };
  }
}

interface GraphqlRequest {
  readonly variables: {
    readonly owner: string;
    readonly repo: string;
    readonly number: number;
    readonly first: number;
    readonly after: string | null;
  };
}

const urlOf = (id: number): string =>
  `https://forge.test/someone/slideshow/pull/7#issuecomment-${id}`;

const shown = ({ id, body }: StoredComment): object => ({ id, body, html_url: urlOf(id) });
