# What `nix flake init -t` and `devbox init --template` write. The texts are what both say after it.
{
  minimal = {
    path = ./minimal;
    description = "A dev shell with git and Python";
    welcomeText = builtins.readFile ./minimal.txt;
  };
  cuda-torch = {
    path = ./cuda-torch;
    description = "CUDA, PyTorch and FlashAttention for GH200 and H100";
    welcomeText = builtins.readFile ./cuda-torch.txt;
  };
}
