/** Who wrote a comment or an issue, as GitHub tells it. */
export interface Post {
  readonly body: string;
  readonly viewerDidAuthor: boolean;
  readonly author: { readonly __typename: string; readonly login: string } | null;
}

/** One page of a list, and who asks for it. */
export interface PageOfPosts<Listed extends Post> {
  /** The login of the token. */
  readonly viewer: string;
  readonly nodes: readonly Listed[];
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null };
}

/** The fields that tell it. GitHub alone can: REST does not tell the token who it is. */
export const postFields = 'body viewerDidAuthor author { __typename login }';

/** Posts of one page, and the most pages that are searched. */
const perPage = 100;
const mostPages = 30;

/**
 * The first of this token's own posts that begins with a marker: anybody may write the marker into
 * one of theirs.
 *
 * @param name what is searched, for people
 * @throws Error when there are too many to search: it is not known whether there is one
 */
export async function findOwn<Listed extends Post>(
  name: string,
  marker: string,
  read: (page: { first: number; after: string | null }) => Promise<PageOfPosts<Listed>>,
): Promise<Listed | null> {
  let after: string | null = null;
  for (let page = 0; page < mostPages; page += 1) {
    const { viewer, nodes, pageInfo }: PageOfPosts<Listed> = await read({ first: perPage, after });
    const own = nodes.find((post) => isOwn(post, viewer) && post.body.startsWith(marker));
    if (own !== undefined) return own;
    if (!pageInfo.hasNextPage) return null;
    after = pageInfo.endCursor;
  }
  throw new Error(`searched ${mostPages * perPage} ${name}; wrote none, to avoid a duplicate`);
}

/** An app is `name[bot]` as the viewer, and a `Bot` called `name` as an author. */
const isOwn = ({ viewerDidAuthor, author }: Post, viewer: string): boolean =>
  viewerDidAuthor || (author?.__typename === 'Bot' && viewer === `${author.login}[bot]`);
