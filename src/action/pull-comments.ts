import type { PlanComment } from '../report/plan-comment.ts';
import type { GithubRepository } from './github-repository.ts';

/** Comments of one page, and the most pages that are searched. */
const perPage = 100;
const mostPages = 30;

/** A comment as GitHub lists it. */
interface ListedComment {
  readonly databaseId: number;
  readonly url: string;
  readonly body: string;
  readonly viewerDidAuthor: boolean;
  readonly author: { readonly __typename: string; readonly login: string } | null;
}

/** One page of the comments of a pull request. */
interface CommentPage {
  readonly viewer: { readonly login: string };
  readonly repository: {
    readonly pullRequest: {
      readonly comments: {
        readonly nodes: readonly ListedComment[];
        readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null };
      };
    } | null;
  } | null;
}

/** GitHub alone can tell whose a comment is: REST does not tell the token who it is. */
const pageQuery = `
  query ($owner: String!, $repo: String!, $number: Int!, $first: Int!, $after: String) {
    viewer { login }
    repository(owner: $owner, name: $repo) {
      pullRequest(number: $number) {
        comments(first: $first, after: $after) {
          nodes { databaseId url body viewerDidAuthor author { __typename login } }
          pageInfo { hasNextPage endCursor }
        }
      }
    }
  }
`;

/** What became of a comment. */
export interface KeptComment {
  readonly did: 'wrote' | 'updated' | 'nothing';
  readonly url: string;
}

/** Writes a comment on a pull request, or updates the one that is there. */
export async function keepComment(
  github: GithubRepository,
  pull: number,
  { marker, body }: Pick<PlanComment, 'marker' | 'body'>,
): Promise<KeptComment> {
  const { rest, at } = github;
  const found = await findOwn(github, pull, marker);
  if (found === null) {
    const made = await rest.issues.createComment({ ...at, issue_number: pull, body });
    return { did: 'wrote', url: made.data.html_url };
  }
  const { databaseId: comment_id, url } = found;
  if (found.body.replaceAll('\r\n', '\n').trimEnd() === body.trimEnd())
    return { did: 'nothing', url };
  await rest.issues.updateComment({ ...at, comment_id, body });
  return { did: 'updated', url };
}

/** The oldest of this token's own: anybody may write the marker into a comment of theirs. */
async function findOwn(
  { graphql, at }: GithubRepository,
  pull: number,
  marker: string,
): Promise<ListedComment | null> {
  let after: string | null = null;
  for (let page = 0; page < mostPages; page += 1) {
    const found: CommentPage = await graphql<CommentPage>(pageQuery, {
      ...at,
      number: pull,
      first: perPage,
      after,
    });
    const comments = found.repository?.pullRequest?.comments;
    if (comments === undefined) throw new Error(`there is no pull request ${pull}`);
    const own = comments.nodes.find(
      (comment) => isOwn(comment, found.viewer.login) && comment.body.startsWith(marker),
    );
    if (own !== undefined) return own;
    if (!comments.pageInfo.hasNextPage) return null;
    after = comments.pageInfo.endCursor;
  }
  throw new Error(`searched ${mostPages * perPage} comments; wrote none, to write no second one`);
}

/** An app is `name[bot]` as the viewer, and a `Bot` called `name` as an author. */
const isOwn = ({ viewerDidAuthor, author }: ListedComment, viewer: string): boolean =>
  viewerDidAuthor || (author?.__typename === 'Bot' && viewer === `${author.login}[bot]`);
