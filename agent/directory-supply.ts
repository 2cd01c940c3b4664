import type { PolicySupply, SupplyParts } from './policy-supply.ts';
import { DirectorySource } from './source/directory.ts';
import { orNothing } from './state/or-nothing.ts';

/** Policies out of a directory of files. */
export async function openDirectory({ settings, state, log }: SupplyParts): Promise<PolicySupply> {
  const lastGood = (await orNothing(state?.loadObjects(), log)) ?? [];
  const source = new DirectorySource({
    directory: settings.policies ?? '.',
    maxFiles: settings.maxPolicyFiles,
    maxFileBytes: settings.maxFileBytes,
    lastGood,
  });
  return {
    hasLastGood: lastGood.length > 0,
    waitsFor: undefined,
    run: (signal, onSnapshot) => source.run(signal, onSnapshot),
    save: async () => await state?.saveObjects(source.goodObjects()),
    findings: () => [],
  };
}
