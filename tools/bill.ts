/** The bill of materials of a release (CycloneDX), from what npm tells of the packages. */

/** What a bill says of a part; npm tells more, which stays as it is. */
export interface Component {
  readonly 'bom-ref': string;
  readonly type: string;
  readonly name: string;
  readonly version: string;
}

/** Which parts a part uses. */
interface Uses {
  readonly ref: string;
  readonly dependsOn: readonly string[];
}

/** A bill in CycloneDX. */
export interface Bill {
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly Uses[];
}

/** An archive with its Node.js in it. */
export interface Archive {
  readonly file: string;
  /** Such as `24.21.0`. */
  readonly node: string;
}

/** What is read of package-lock.json. */
export interface Lock {
  readonly packages: Readonly<
    Record<string, { readonly version?: string; readonly dev?: boolean }>
  >;
}

/** Code of this tool of development is in every bundle. */
const bundler = 'node_modules/@vercel/ncc';

/**
 * The bill of a release: what the bundles may contain, and the Node.js of the archives.
 *
 * @param all the bill of every package, also those of development: with `--omit dev`, npm leaves out
 *   a package of the program if a tool names it, too
 */
export function billOf(all: Bill, lock: Lock, name: string, archives: readonly Archive[]): Bill {
  const shipped = new Set(
    Object.entries(lock.packages)
      .filter(([path, { dev }]) => path !== '' && (dev !== true || path === bundler))
      .map(([path, { version }]) => `${path.split('node_modules/').at(-1)}@${version}`),
  );
  const { component } = all.metadata;
  const root = component['bom-ref'];
  const runtimes = runtimesOf(archives);
  const added = runtimes.map((each) => each['bom-ref']);
  return {
    ...all,
    // npm names the program after the folder of the clone.
    metadata: { ...all.metadata, component: { ...component, name } },
    components: [
      ...all.components.filter((each) => shipped.has(`${each.name}@${each.version}`)),
      ...runtimes,
    ],
    dependencies: [
      ...all.dependencies
        .filter(({ ref }) => ref === root || shipped.has(ref))
        .map(({ ref, dependsOn }) => ({
          ref,
          dependsOn: [
            ...dependsOn.filter((each) => shipped.has(each)),
            ...(ref === root ? added : []),
          ],
        })),
      ...added.map((ref) => ({ ref, dependsOn: [] })),
    ],
  };
}

/** One for each version of Node.js, with the archives that contain it. */
function runtimesOf(archives: readonly Archive[]): readonly Component[] {
  return [...new Set(archives.map(({ node }) => node))].sort().map((version) => ({
    'bom-ref': `node@${version}`,
    type: 'platform',
    name: 'node',
    version,
    scope: 'required',
    description: 'Node.js, which runs the command line in the archives',
    cpe: `cpe:2.3:a:nodejs:node.js:${version}:*:*:*:*:*:*:*`,
    purl: `pkg:generic/node@${version}`,
    properties: archives
      .filter(({ node }) => node === version)
      .map(({ file }) => ({ name: 'celeriac:archive', value: file })),
    licenses: [{ license: { id: 'MIT' } }],
  }));
}
