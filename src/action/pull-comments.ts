import type { PlanComment } from '../report/plan-comment.ts';
import type { GithubRepository } from './github-repository.ts';
import { findOwn, type PageOfPosts, type Post, postFields } from './own-posts.ts';

/** A comment as GitHub lists it. */
interface ListedComment extends Post {
  readonly databaseId: number;
  readonly url: string;
}

/** One page of the comments of a pull request. */
interface CommentPage {
  readonly viewer: { readonly login: string };
  readonly repository: {
    readonly pullRequest: {
      readonly comments: Omit<PageOfPosts<ListedComment>, 'viewer'>;
    } | null;
  } | null;
}

const pageQuery = `
  query ($owner: String!, $repo: String!, $number: Int!, $first: Int!, $after: String) {
    viewer { login }
    repository(owner: $owner, name: $repo) {
      pullRequest(number: $number) {
        comments(first: $first, after: $after) {
          nodes { databaseId url ${postFields} }
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
  const found = await findComment(github, pull, marker);
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

const findComment = (
  { graphql, at }: GithubRepository,
  pull: number,
  marker: string,
): Promise<ListedComment | null> =>
  findOwn('comments', marker, async (page) => {
    const found = await graphql<CommentPage>(pageQuery, { ...at, number: pull, ...page });
    const comments = found.repository?.pullRequest?.comments;
    if (comments === undefined) throw new Error(`there is no pull request ${pull}`);
    return { ...comments, viewer: found.viewer.login };
  });
