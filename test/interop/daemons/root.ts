import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CommandError, run } from '../../../src/host/command.ts';
import { dyingWithUs } from '../../../src/host/namespace.ts';

/** What a root folder has in it: packages of a Debian suite with what they depend on, unpacked and not configured. */
export interface RootContents {
  /** The folder is called after it. */
  readonly name: string;
  readonly suite: 'bookworm' | 'trixie' | 'forky';
  readonly packages: readonly string[];
}

/** The folder of everything that is kept between runs. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'ike-telescope');
}

/** The host's own apt, with everything about packages in the folder $work: it knows of nothing that the host has installed. */
const APT_CONFIG = `
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State "$work/state";
Dir::State::status "$work/status";
Dir::Cache "$work/cache";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
`;

/**
 * Makes the folder $1 out of packages $3... of suite $2. A run that is killed leaves a folder of another name, which the next
 * one removes. The mirror is the host's own. /bin and its like lead to /usr, as in every Debian since its version 12.
 */
const RECIPE = `
set -eu
umask 022
root=$1 work=$1.making suite=$2
shift 2
[ ! -e "$root" ] || exit 0
rm -rf "$work"
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/root"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' | grep '/debian/*$' | head -n 1)
[ -n "$mirror" ] || { echo "the host's apt has no sources of Debian" >&2; exit 1; }
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$work/sources.list"
: > "$work/status"
cat > "$work/apt.conf" << END${APT_CONFIG}END
apt-get -q -c "$work/apt.conf" update
apt-get -q -c "$work/apt.conf" install -y --download-only "$@"
cd "$work/root"
mkdir dev mnt proc run tmp
for folder in bin sbin lib lib64; do
  mkdir -p "usr/$folder"
  ln -s "usr/$folder" "$folder"
done
for package in "$work"/cache/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink
done
mv "$work/root" "$root"
rm -rf "$work"
`;

/**
 * Finds a root folder in the cache, or makes it, which takes a network and some 15 seconds; of several that want it at a time
 * one makes it. What is in it never changes. @throws CommandError
 */
export async function rootFolder({ name, suite, packages }: RootContents): Promise<string> {
  const recipe = createHash('sha256')
    .update([RECIPE, suite, ...packages].join('\0'))
    .digest('hex');
  const roots = join(cacheFolder(), 'roots');
  const root = join(roots, `${name}-${recipe.slice(0, 8)}`);
  if (existsSync(root)) return root;
  await mkdir(roots, { recursive: true });
  try {
    const make = ['flock', `${root}.lock`, 'sh', '-c', RECIPE, 'sh', root, suite, ...packages];
    await run(dyingWithUs(['unshare', '--pid', '--fork', '--kill-child', '--', ...make]));
  } catch (error) {
    const reason = (error as Error).message.slice(-1_000);
    throw new CommandError(`no root folder for ${name} (Debian's packages of ${suite}): ${reason}`);
  }
  return root;
}
