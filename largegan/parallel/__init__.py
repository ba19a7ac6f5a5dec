"""Distribution, applied to a recipe from outside: launch, and the engines that move gradients."""
