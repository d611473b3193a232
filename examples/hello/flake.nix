{
  description = "A dev shell of a few packages that refer to one another; needs no nixpkgs and no network";

  outputs = { self }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" ];
      forEach = f: builtins.listToAttrs (map (system: { name = system; value = f system; }) systems);
      packages = forEach (system: import ./packages.nix { inherit system; });
    in
    {
      packages = forEach (system: {
        inherit (packages.${system}) greeting hello hello-all;
        default = packages.${system}.hello-all;
      });
      devShells = forEach (system: { default = packages.${system}.shell; });
    };
}
