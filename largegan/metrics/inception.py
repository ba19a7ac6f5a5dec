"""FID's Inception-v3 (Szegedy et al., 2015, as TensorFlow published it on 2015-12-05).

It differs from torchvision's: 1008 classes, pooling that leaves padding out of its mean, a max
pool in the last block. Blocks and patches are clean-fid's and torchvision's; this file puts them
together without the download that clean-fid ties to them. Two files hold the weights: TorchScript
(`script_network`, what clean-fid uses) and a state dict (`FidInception`, which has the classifier
and the features of earlier layers).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 299


def script_network(path: Path) -> nn.Module:
    """clean-fid's `InceptionV3W` around a local TorchScript file: [0, 255] `[N, 3, 299, 299]`.

    TorchScript holds code: the caller has checked the file's hash.
    """
    import warnings

    from cleanfid.inception_torchscript import InceptionV3W

    with warnings.catch_warnings():
        # torch.export, which the warning recommends, cannot read this file format.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.load(str(path), map_location="cpu").eval()
    # Its constructor wants a folder and one file name; everything else of it is used as it is.
    network = InceptionV3W.__new__(InceptionV3W)
    nn.Module.__init__(network)
    network.base = script
    network.layers = getattr(script, "layers", script)
    network.resize_inside = False
    return network.eval().requires_grad_(False)


class FidInception(nn.Module):
    """The network under pytorch-fid's parameter names: `x` in [-1, 1], `[N, 3, 299, 299]`."""

    def __init__(self):
        super().__init__()
        from cleanfid import inception_pytorch as patched
        from torchvision.models import Inception3

        net = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
        net.Mixed_5b = patched.FIDInceptionA(192, pool_features=32)
        net.Mixed_5c = patched.FIDInceptionA(256, pool_features=64)
        net.Mixed_5d = patched.FIDInceptionA(288, pool_features=64)
        net.Mixed_6b = patched.FIDInceptionC(768, channels_7x7=128)
        net.Mixed_6c = patched.FIDInceptionC(768, channels_7x7=160)
        net.Mixed_6d = patched.FIDInceptionC(768, channels_7x7=160)
        net.Mixed_6e = patched.FIDInceptionC(768, channels_7x7=192)
        net.Mixed_7b = patched.FIDInceptionE_1(1280)
        net.Mixed_7c = patched.FIDInceptionE_2(2048)
        for name, module in net.named_children():
            if name not in ("avgpool", "dropout", "maxpool1", "maxpool2"):
                self.add_module(name, module)

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """Mean features `[N, n]` after the stages, by their number n: 64, 192, 768, 2048."""
        found = {}
        for name, layer in self.named_children():
            if name == "fc":
                break
            x = layer(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = F.max_pool2d(x, 3, stride=2)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_6e", "Mixed_7c"):
                found[x.shape[1]] = x.mean((2, 3))
        return found

    def logits(self, features: Tensor, *, bias: bool = True) -> Tensor:
        """`[N, 1008]` from the last features; the inception score leaves the bias out."""
        return F.linear(features, self.fc.weight, self.fc.bias if bias else None)


class Pool3(nn.Module):
    """[0, 255] `[N, 3, 299, 299]` -> the 2048 features, as `script_network` has them."""

    def __init__(self, network: FidInception):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - 128) / 128)[2048]


class Classifier(nn.Module):
    """Features -> logits without bias, which the inception score is computed from."""

    def __init__(self, network: FidInception):
        super().__init__()
        self.weight = network.fc.weight

    def forward(self, features: Tensor) -> Tensor:
        return F.linear(features, self.weight)


def state_dict_network(path: Path) -> FidInception:
    """`FidInception` with published weights."""
    network = FidInception()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval().requires_grad_(False)
