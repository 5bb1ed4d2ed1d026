import { KeyLogFiles } from '../decode/key-log-files.ts';

/** The help of `--keylog`, to be completed with whose anonymity it undoes. */
export const KEY_LOG_OPTION = "for debugging: write all keys to Wireshark's files in this directory";

/** Opens the files and warns of them. @param whose - traffic can be read @throws KeyLogError */
export function openKeyLog(directory: string, whose: string): KeyLogFiles {
  const files = new KeyLogFiles(directory);
  process.stderr.write(
    `ike-telescope: WARNING: the keys of ${whose} are written to ${directory}; with them anybody who has recorded ` +
      'its packets, even years ago, reads all of it and sees who talks to whom\n',
  );
  return files;
}

/** The same for files that another process writes to. @throws KeyLogError */
export function prepareKeyLog(directory: string, whose: string): void {
  openKeyLog(directory, whose).close();
}
