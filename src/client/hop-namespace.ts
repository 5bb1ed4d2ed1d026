import { closeSync, openSync, readlinkSync } from 'node:fs';
import { run } from '../host/command.ts';
import { ipBatch } from '../host/ip.ts';
import { type Native, NativeError } from '../native/native.ts';

/** A network namespace that nothing but a descriptor of ours stands for: it lasts as long as this process at most. */
export class HopNamespace {
  readonly #native: Native;
  readonly #fd: number;
  #isClosed = false;

  /** @param fd - of the namespace; it is owned from now on */
  constructor(native: Native, fd: number) {
    this.#native = native;
    this.#fd = fd;
  }

  /** The one that this process is in. */
  static ofThisProcess(native: Native): HopNamespace {
    return new HopNamespace(native, openSync('/proc/thread-self/ns/net', 'r'));
  }

  /** The file of it, for this process and those that it starts. @throws NativeError once it is closed */
  get file(): string {
    if (this.#isClosed) throw new NativeError('EBADF', 'that network namespace is closed');
    // Not /proc/self, which is somebody else for a child, nor our process id, which may be another in this /proc.
    return `/proc/${readlinkSync('/proc/self')}/fd/${this.#fd}`;
  }

  /** `Native.withinNetworkNamespace`. */
  within<T>(action: () => T): T {
    return this.#native.withinNetworkNamespace(this.file, action);
  }

  /** Runs `ip` commands in it; `OTHER_NAMESPACE` in them is `other`. @throws CommandError */
  async ip(lines: readonly string[], other?: HopNamespace): Promise<void> {
    const descriptors = other === undefined ? [] : [other.#fd];
    await this.within(() => ipBatch(lines, { descriptors }));
  }

  /** Runs `tc` commands in it. @throws CommandError */
  async tc(lines: readonly string[]): Promise<void> {
    await this.within(() => run(['tc', '-batch', '-'], { input: `${lines.join('\n')}\n` }));
  }

  close(): void {
    if (!this.#isClosed) closeSync(this.#fd);
    this.#isClosed = true;
  }
}

/** As what a program that `HopNamespace.ip` runs has inherited the other namespace. */
export const OTHER_NAMESPACE = '/proc/self/fd/3';
