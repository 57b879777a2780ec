// Places an order through a client that a public generator made of docs/openapi.json, and reads it back.
package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := placeOrder(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func placeOrder(ctx context.Context, base string) error {
	client, err := NewClientWithResponses(base)
	if err != nil {
		return err
	}
	run := fmt.Sprint(time.Now().UnixNano())
	user, err := client.CreateUserWithResponse(ctx, nil, NewUser{Name: "Generated Client", Email: "client@example.com"})
	if err != nil {
		return err
	}
	if user.JSON201 == nil {
		return fmt.Errorf("the user: %s", user.Body)
	}
	var price NewProduct_Price
	if err := price.FromNewProductPrice0("19.99"); err != nil {
		return err
	}
	stock := uint32(5)
	product, err := client.CreateProductWithResponse(ctx, nil, NewProduct{
		Sku: "GEN-" + run, Name: "Generated thing", Category: "things", Price: price, Currency: "USD", Stock: &stock,
	})
	if err != nil {
		return err
	}
	if product.JSON201 == nil {
		return fmt.Errorf("the product: %s", product.Body)
	}
	key := "order-" + run
	wanted := NewOrder{
		UserId: user.JSON201.Id,
		Items:  []NewOrderItem{{ProductId: product.JSON201.Id, Quantity: 2}},
	}
	order, err := client.CreateOrderWithResponse(ctx, &CreateOrderParams{IdempotencyKey: &key}, wanted)
	if err != nil {
		return err
	}
	if order.JSON201 == nil {
		return fmt.Errorf("the order: %s", order.Body)
	}
	read, err := client.GetOrderWithResponse(ctx, order.JSON201.Id, nil)
	if err != nil {
		return err
	}
	if read.JSON200 == nil || read.JSON200.TotalAmount != "39.98" || len(read.JSON200.Items) != 1 {
		return fmt.Errorf("the order as it is read: %s", read.Body)
	}
	left, err := client.GetProductWithResponse(ctx, product.JSON201.Id, nil)
	if err != nil {
		return err
	}
	if left.JSON200 == nil || left.JSON200.Stock != 3 {
		return fmt.Errorf("the stock that is left: %s", left.Body)
	}
	fmt.Println("a generated client placed the order", order.JSON201.Id)
	return nil
}
